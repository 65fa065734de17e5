"""Keep a collection current: reconcile whenever something changes below the given paths."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from phi3kit.errors import Phi3kitError, first_line
from phi3kit.files import expanded
from phi3kit.ingest.reconcile import embedder_of, ingest
from phi3kit.ingest.site import local_folder, site_of
from phi3kit.ingest.walk import hidden
from phi3kit.progress import note
from phi3kit.records import IngestReport
from phi3kit.settings import Settings

# Milliseconds: a reconcile begins when nothing has changed for _QUIET, or _LONGEST after the
# first change; every _TICK it is seen whether the watched folders are still there.
_QUIET, _LONGEST, _TICK = 300, 3000, 1000


def watch(settings: Settings, on_report: Callable[[IngestReport], None], *,
          rebuild: bool = False) -> None:
    """Bring the collection up to date, and again after every change, until Ctrl-C.

    Args:
        settings: as for `ingest`; what is watched is `ingest.corpus`.
        on_report: called after the first reconcile, and after each that found something.
        rebuild: whether the first one is a rebuild.

    Raises:
        Phi3kitError: the first reconcile cannot be done, or the paths cannot be watched. Later
            ones that fail are told on stderr and tried again.
    """
    embedder = embedder_of(settings)
    tell = Tell(settings, on_report)
    try:
        tell(ingest(settings, rebuild=rebuild, embedder=embedder))
        note("watching for changes; Ctrl-C stops")
        told = ""
        due = True  # what changed before the watch began
        store = local_folder(site_of(settings.ingest.store))
        for changed in _ticks(settings.ingest.corpus, store):
            if not (changed or due):
                continue
            try:
                report = ingest(settings, embedder=embedder)
            except (Phi3kitError, OSError) as error:
                due = True
                if told != str(error):
                    note(f"{error} (trying again)")
                told = str(error)
            else:
                due, told = False, ""
                if changed or report.added or report.changed or report.deleted:
                    tell(report)
    except KeyboardInterrupt:
        note("stopped")
    finally:
        embedder.release()


class Tell:
    """Passes reports on; the first that embedded something in int8 with what that changed."""

    def __init__(self, settings: Settings, on_report: Callable[[IngestReport], None]) -> None:
        self._settings = settings
        self._on_report = on_report
        self._measured = settings.ingest.precision != "int8"

    def __call__(self, report: IngestReport) -> None:
        """Pass a report on."""
        if not self._measured:  # once, for it takes seconds
            from phi3kit.ingest import fidelity

            report = fidelity.measured(self._settings, report)
            self._measured = report.fidelity is not None
        self._on_report(report)


def _ticks(paths: Sequence[str], store: Path) -> Iterator[bool]:
    """True after changes, and False now and then without."""
    from watchfiles import watch as changes

    named = [expanded(name).absolute() for name in paths]
    skipped = store.absolute()

    def matters(name: str) -> bool:
        path = Path(name)
        return not path.is_relative_to(skipped) and any(
            path.is_relative_to(root) and not any(map(hidden, path.relative_to(root).parts))
            for root in named)

    again = False
    while True:
        # A folder that is removed, or whose place another one takes, is no longer watched, even
        # when it comes back.
        watched = _watched(named)
        seen = _places(watched)
        # One watcher looks below its folders, the other not; each keeps what it saw meanwhile.
        kinds = [(folders, deep) for folders, deep in zip(watched, (True, False), strict=True)
                 if folders]
        # What is left out here still ends a wait: else a busy folder would hold up the others.
        watchers = [changes(*folders, watch_filter=None, step=_QUIET, debounce=_LONGEST,
                            rust_timeout=_TICK // len(kinds), yield_on_timeout=True,
                            recursive=deep, ignore_permission_denied=True)
                    for folders, deep in kinds]
        try:
            for found in zip(*watchers, strict=True):
                yield again or any(matters(name) for each in found for _, name in each)
                again = _places(_watched(named)) != seen  # then what changed in between counts
                if again:
                    break
        except FileNotFoundError:  # it was there a moment ago
            again = True
            time.sleep(_TICK / 1000)
        except (OSError, RuntimeError) as error:
            raise Phi3kitError(
                f"cannot be watched ({first_line(error)})", where=", ".join(paths),
                mend="Give fewer folders, or raise the system's limit (on Linux "
                     "fs.inotify.max_user_watches and max_user_instances)") from error


def _places(watched: tuple[list[Path], list[Path]]) -> list[tuple[Path, tuple[int, int] | None]]:
    """The folders that stand at those paths now: a link may lead to another one since."""
    def place(path: Path) -> tuple[int, int] | None:
        try:
            status = path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    return [(path, place(path)) for paths in watched for path in paths]


def _watched(named: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Folders to watch with all that is below them, and folders to watch by themselves.

    The latter are those that named files lie in (not the file itself: editors put a new one in
    its place), and the nearest ones above what is not there.
    """
    # Where it may not be looked at, Path.is_dir would raise.
    isdir = os.path.isdir
    deep = {path for path in named if isdir(path)}
    alone = {next(place for place in path.parents if isdir(place)) for path in named
             if path not in deep}
    return sorted(deep), sorted(alone - deep)
