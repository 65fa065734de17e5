"""When documents were made and changed: from version control, or from file times."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from phi3kit.errors import DataError

DAY = 86_400.0
YEAR = 365.25 * DAY
# What lies further back says little about how often facts change now.
WINDOW = 3 * YEAR
_HOUR = 3_600.0
_PATIENCE = 120  # seconds for git; a history that takes longer is that of a giant
_COMMIT = "\x01"
# Set by git for its hooks; they would point our calls at another repository.
_GIT_OWN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


@dataclass(frozen=True, slots=True)
class Event:
    """A document was made or changed.

    Attributes:
        document: any key that is the same for the same document.
        time: seconds since 1970.
        made: whether the document did not exist before.
    """

    document: str
    time: float
    made: bool


@dataclass(frozen=True, slots=True)
class History:
    """What is known of documents from `start` to `end` (seconds since 1970).

    Attributes:
        documents: number of documents that there are now.
        events: what happened after `start`; how the documents came in is none of it.
        told_by: where this is known from, in words.
        hint: what would make more known; "" if nothing.
    """

    documents: int
    start: float
    end: float
    events: tuple[Event, ...]
    told_by: str
    hint: str = ""


def from_git(paths: Sequence[Path]) -> History | None:
    """The history of the repository that holds most of the files `paths`.

    A commit's time is the earlier of its author's and its committer's: rebasing renews the
    one, and importing the other. The end is the checked-out commit, whatever it changed.
    The first commit with any of the documents, and commits without a parent (the first of
    all, the edge of a shallow clone), bring documents in and are no changes. A renamed
    document stays the same one; a folder moved in from elsewhere in the repository is new.

    Returns:
        None when fewer than half of the files are committed in one repository, or there is
        no git.

    Raises:
        DataError: git refuses or takes too long.
    """
    home = _repository(paths)
    if home is None:
        return None
    root, inside = home
    try:
        tracked = set(_git(root, "ls-files", "-z", "--", *_scope(inside)).split("\0"))
        documents = {name for name in inside if name in tracked}
        if 2 * len(documents) <= len(paths):
            return None
        end = _when(_git(root, "log", "-1", "--format=%at %ct").split())
        commits = list(_commits(root, _scope(inside), since=end - WINDOW))
        shallow = _git(root, "rev-parse", "--is-shallow-repository").strip() == "true"
    except FileNotFoundError:
        return None
    return _history(documents, commits, end, shallow=shallow)


def from_file_times(paths: Sequence[Path], now: float) -> History:
    """What the files' modification times tell, at `now` (seconds since 1970).

    Only the last change of each document is known, so changes are under-counted.

    Raises:
        DataError: most files were written within an hour of each other, as by copying or
            unpacking; such times tell nothing.
    """
    times = sorted(min(path.stat().st_mtime, now) for path in paths)
    half = len(times) // 2
    if any(times[i + half] - times[i] <= _HOUR for i in range(len(times) - half)):
        raise DataError("the files are in no repository, and most were written within an hour, "
                        "as copying does")
    start = max(times[0], now - WINDOW)
    events = tuple(Event(str(index), time, made=False) for index, time in enumerate(times)
                   if time > start)
    return History(len(times), start, now, events, "the files' modification times")


def _repository(paths: Sequence[Path]) -> tuple[Path, list[str]] | None:
    """The repository that holds most of `paths`, and their names in it."""
    roots: dict[Path, Path | None] = {}

    def root_of(folder: Path) -> Path | None:
        if folder not in roots:
            here = (folder / ".git").exists()
            roots[folder] = folder if here else (
                None if folder.parent == folder else root_of(folder.parent))
        return roots[folder]

    real = [path.resolve() for path in paths]
    homes = Counter(root for path in real if (root := root_of(path.parent)) is not None)
    if not homes:
        return None
    root = min(homes, key=lambda home: (-homes[home], str(home)))
    return root, sorted(path.relative_to(root).as_posix() for path in real
                        if root_of(path.parent) == root)


def _scope(names: Sequence[str]) -> list[str]:
    """The narrowest pathspec that covers `names`."""
    return [f":(top,literal){os.path.commonpath(names)}"] if os.path.commonpath(names) else []


def _git(root: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in _GIT_OWN}
    # No lazy download of a partial clone's objects, no locks in a repository we only read.
    environment |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"}
    command = ["git", "--no-pager", "-c", "core.quotePath=false", "-c", "log.showSignature=false",
               "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, env=environment,
                              stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        raise DataError(f"git took more than {_PATIENCE} s to list the history") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise DataError(f"git cannot tell the history ({said[0] if said else 'no reason given'})")
    return done.stdout.decode("utf-8", "replace")


def _commits(root: Path, scope: Sequence[str], *, since: float
             ) -> Iterator[tuple[float, bool, list[tuple[str, ...]]]]:
    """(time, has a parent, changes) of each commit, newest first.

    A change is (status, name) or ("R100", old name, new name). Only exact renames are
    detected, because others need the files' contents.
    """
    log = _git(root, "log", "--no-merges", "--name-status", "--find-renames=100%",
               "--no-ext-diff", f"--since={int(since)}", f"--format={_COMMIT}%at %ct %P", "--",
               *scope)
    for block in log.split(_COMMIT)[1:]:
        head, *lines = block.splitlines()
        author, committer, *parents = head.split()
        yield (_when([author, committer]), bool(parents),
               [tuple(line.split("\t")) for line in lines if line])


def _when(times: Sequence[str]) -> float:
    return float(min(int(time) for time in times[:2]))


def _history(documents: set[str],
             commits: Sequence[tuple[float, bool, list[tuple[str, ...]]]], end: float, *,
             shallow: bool) -> History:
    today = {name: name for name in documents}  # a name in its time to the name now
    events: list[Event] = []
    arrived: list[float] = []
    for time, has_parent, changes in commits:
        happened = list(_happened(changes, today, time))
        if has_parent:
            events += happened
        else:
            arrived.append(time)
    made = {event.document for event in events if event.made}
    if arrived:
        start = min(arrived)
    elif made == documents:  # the repository is older than its documents
        start = min(event.time for event in events)
    else:
        start = end - WINDOW
    start = max(start, end - WINDOW)
    end = max([end, *(event.time for event in events)])
    seen = tuple(event for event in events if event.time > start)
    return History(len(documents), start, end, seen,
                   f"{len(commits):,} commits that touch them" if len(commits) != 1
                   else "the one commit that touches them",
                   "run git fetch --unshallow for the whole history" if shallow else "")


def _happened(changes: Sequence[tuple[str, ...]], today: dict[str, str], time: float
              ) -> Iterator[Event]:
    """A commit's events; `today` learns the names that documents had before it."""
    before: Mapping[str, str] = dict(today)
    for status, *names in changes:
        document = before.get(names[-1])
        if document is None:
            continue
        if status.startswith("R"):
            today.pop(names[-1], None)
            today[names[0]] = document
        elif status.startswith(("A", "M", "C")):
            yield Event(document, time, made=status.startswith(("A", "C")))
