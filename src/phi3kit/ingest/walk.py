"""Which files the given paths hold, and under which names they are cited."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from phi3kit.files import expanded
from phi3kit.ingest.readers import extensions, supported
from phi3kit.records import Failure


@dataclass
class Found:
    """What a walk found.

    Attributes:
        files: by source, the name that the file's passages carry.
        roots: sources of the folders that were walked; what the collection holds under
            them and the walk did not find is gone.
        gone: sources of files that were named and are not there.
        failed: what could not be walked; `kept` names the same by source, and what the
            collection holds there stays.
        skipped: number of files without a reader, by extension.
        folder: where relative names begin.
    """

    files: dict[str, Path] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    folder: Path = field(default_factory=Path.cwd)

    def fail(self, source: str, why: str) -> None:
        """Note that what lies at `source` cannot be used; once, however often it is named."""
        if source in self.kept:
            return
        self.failed.append(Failure(_shown(source), why))
        self.kept.append(source)

    @property
    def names(self) -> list[str]:
        """Every name that was looked at."""
        return [*self.files, *self.roots, *self.gone, *self.kept]

    def covers(self, source: str) -> bool:
        """Whether `source` was looked for, so that its absence from `files` means something."""
        return (any(self.under(source, root) for root in self.roots)
                and not any(self.under(source, kept) for kept in self.kept))

    def under(self, source: str, folder: str) -> bool:
        """Whether `source` is `folder` or lies in it; either name may be relative."""
        inner, outer = ((self.folder / name).as_posix() for name in (source, folder))
        return inner == outer or inner.startswith(_within(outer))

    def name_of(self, source: str) -> str:
        """The name of a document now; an earlier run may have given it its absolute one."""
        return source.removeprefix(_within(self.folder.as_posix()))

    def name_from(self, folder: Path) -> None:
        """Name what lies in `folder` from there. Every name is absolute, or begins there already.

        So a document has one name, from whatever working folder it is ingested.
        """
        if folder == self.folder:
            return
        self.folder = folder
        prefix = functools.cache(lambda above: _within(_name_in(folder, Path(above))))
        self.files = {prefix(path.parent) + path.name: self.files[source]
                      for source in self.files for path in (PurePosixPath(source),)}
        self.roots, self.gone, self.kept = (
            [_name_in(folder, Path(name)) for name in names]
            for names in (self.roots, self.gone, self.kept))
        self.failed = [Failure(_shown(source), failure.why)
                       for source, failure in zip(self.kept, self.failed, strict=True)]


def source_of(path: Path) -> str:
    """The name that passages of `path` carry.

    Relative to the working folder, with forward slashes; absolute for what lies outside.
    """
    return _name_in(Path.cwd(), Path(os.path.abspath(path)))  # noqa: PTH100 - it follows no links


def _name_in(folder: Path, full: Path) -> str:
    """The name of `full` from `folder`, which may be reached through a link; else its own."""
    if full.is_relative_to(folder):
        return full.relative_to(folder).as_posix()
    with contextlib.suppress(OSError):
        wanted = folder.stat()
        for above in (full, *full.parents):
            with contextlib.suppress(OSError):
                if os.path.samestat(above.stat(), wanted):
                    return full.relative_to(above).as_posix()
    return full.as_posix()


def walk(paths: Sequence[str], store: Path) -> Found:
    """The files under `paths`, in a stable order.

    What is hidden (see `hidden`) and the store itself are left out, unless named. Links to files
    are followed while they stay in the folder that was named; links to folders are not:
    what they point at is found in its own place, or has to be named.
    """
    found = Found()
    store = store.resolve()
    for name in paths:
        path = expanded(name)
        source = source_of(path)
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            if path.is_symlink():
                found.fail(source, "a link that points at nothing")
            elif not path.absolute().parent.is_dir():
                # A file is not gone where its disk, or the share it is on, is not there today.
                found.fail(source, "no such file or folder, nor the folder that it would be in; "
                                   "what the collection holds of it stays")
            else:
                found.gone.append(source)
            continue
        except OSError as error:
            found.fail(source, _why(error))
            continue
        if path.resolve().is_relative_to(store):
            found.fail(source, "this is the store itself")
        elif stat.S_ISDIR(mode):
            found.roots.append(source)
            _walk_folder(path, path.resolve(), store, found)
        elif not supported(path):
            found.fail(source, f"no reader for '{_shown(path.suffix)}' files; there are readers "
                               f"for {' '.join(extensions())} and source code")
        else:
            _take(path, source, found)
    return found


def hidden(name: str) -> bool:
    """Whether a folder's file or folder of that name is left out.

    Like names with a leading dot the owner files of Office, which lie beside a document while
    somebody edits it: `~$report.docx` has the ending of a document and is none.
    """
    return name.startswith((".", "~$"))


def _walk_folder(folder: Path, root: Path, store: Path, found: Found) -> None:
    """A folder's files and those of the folders in it, which nest deeper than calls may."""
    entries, within = _listed(folder, found), _within(source_of(folder))
    above: list[tuple[Path, str, Iterator[os.DirEntry[str]]]] = []
    while True:
        entry = next(entries, None)
        if entry is None:
            if not above:
                return
            folder, within, entries = above.pop()
            continue
        if hidden(entry.name):
            continue
        path = folder / entry.name
        if entry.is_symlink() and not _follow(path, root, found):
            continue
        if entry.is_dir(follow_symlinks=False):
            # No link, so its last name is the store's if it is the store: to resolve it takes long.
            if path.name.casefold() != store.name.casefold() or path.resolve() != store:
                above.append((folder, within, entries))
                folder, entries = path, _listed(path, found)
                within = _within(source_of(folder))
        elif supported(path):
            _take(path, within + entry.name, found)
        else:
            found.skipped[_shown(path.suffix.lower() or path.name)] += 1


def _listed(folder: Path, found: Found) -> Iterator[os.DirEntry[str]]:
    """What a folder holds, by name."""
    try:
        with os.scandir(folder) as listing:
            return iter(sorted(listing, key=lambda entry: entry.name))
    except OSError as error:
        found.fail(source_of(folder), _why(error))
        return iter(())


def _follow(link: Path, root: Path, found: Found) -> bool:
    """Whether a link in a folder leads to a file of that folder."""
    source = source_of(link)
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        looped = isinstance(error, RuntimeError) or getattr(error, "errno", None) == errno.ELOOP
        found.fail(source, "a link that leads to itself" if looped
                   else "a link that points at nothing")
        return False
    if not target.is_relative_to(root):
        found.fail(source, "a link out of the folder; name its target to ingest it")
        return False
    if target.is_dir():
        if link.parent.resolve().is_relative_to(target):
            found.fail(source, "a link to a folder that it lies in")
        elif any(map(hidden, target.relative_to(root).parts)):
            found.fail(source, "a link into a hidden folder, which is left out; name its target "
                               "to ingest it")
        return False
    return True


def _take(path: Path, source: str, found: Found) -> None:
    if not all(c.isprintable() or unicodedata.category(c) == "Zs" for c in source):
        found.fail(source, "the name is not printable UTF-8; rename the file to cite it")
        return
    try:
        mode = path.stat().st_mode
    except OSError as error:
        found.fail(source, _why(error))
        return
    if not stat.S_ISREG(mode):
        kind = "a named pipe" if stat.S_ISFIFO(mode) else "a device or socket"
        found.fail(source, f"{kind}, not a file")
        return
    found.files[source] = path


def _shown(name: str) -> str:
    """A name as text that neither breaks a line nor moves the cursor, whatever is in it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def _within(folder: str) -> str:
    """What the names of a folder's files begin with: to ask `source_of` of each takes longer."""
    return "" if folder == "." else f"{folder.rstrip('/')}/"


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
