"""Which working folder the relative names in a collection belong to.

Documents are named relative to the working folder, so that a project that is moved, or checked
out elsewhere, costs nothing. Two projects that share a store would then take each other's
"docs/a.md" for their own, and delete what they do not find.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from phi3kit.errors import StoreError
from phi3kit.ingest.site import Site

# Of a collection on a server, so many of the relative names must be here before it is taken for
# that of a project that was moved: the former folder may be on another machine.
_HERE = 0.5


def name_of(site: Site) -> str:
    """The working folder as a manifest keeps it.

    Relative to a store that lies in it, and so the same when both are moved; else absolute.
    """
    here = Path.cwd()
    if isinstance(site, Path) and (store := site.resolve()).is_relative_to(here):
        return Path(os.path.relpath(here, store)).as_posix()
    return here.as_posix()


def root_of(project: str, site: Site) -> Path:
    """The folder that `project`, as a manifest has it, stands for."""
    root = Path(project)
    return (site.resolve() / root).resolve() if isinstance(site, Path) else root


def claimed(project: str, site: Site, *, held: Iterable[str], ours: Iterable[str],
            where: str) -> str:
    """The folder that the collection's relative names belong to after this run.

    Args:
        project: as the manifest has it; "" where it is not known.
        held: names of the documents in the collection.
        ours: names that this run looks at, of files and folders.
        where: the collection, in messages.

    Returns:
        As `name_of` gives it; `project` itself when this run looks at absolute names alone.

    Raises:
        StoreError: relative names of another folder, which is still there, would be taken for
            names in this one.
    """
    here = name_of(site)
    if project in ("", here) or all(map(_absolute, ours)):
        return project or here
    theirs = sorted(source for source in held if not _absolute(source))
    root = root_of(project, site)
    if theirs and (root.is_dir() or not _moved_here(theirs, site)):
        raise StoreError(
            f"documents in it, such as '{theirs[0]}', are named from {root}, and this folder's "
            "would be taken for them", where=where,
            mend="Run it in that folder, or give another --collection")
    return here


def _moved_here(theirs: list[str], site: Site) -> bool:
    if isinstance(site, Path):
        return True
    return sum(Path(source).is_file() for source in theirs) >= _HERE * len(theirs)


def _absolute(source: str) -> bool:
    return Path(source).is_absolute()
