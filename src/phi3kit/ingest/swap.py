"""A collection that is built beside the one whose place it takes, and takes it at once.

It is built under a name of its own. One write marks it as complete, and from then on whoever
opens the collection gets it (see `client.current`); to delete the old one and to give the new
one its name is housekeeping that the next run can finish. A run that was killed before the
mark leaves the old one as it was, and a leftover that the next run throws away.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path
from typing import Any

from phi3kit.errors import StoreError
from phi3kit.ingest.client import READY, connect, current, is_there, staged_name, where_of
from phi3kit.ingest.collection import KEY
from phi3kit.ingest.faults import explained
from phi3kit.ingest.manifest import Manifest, manifest_from
from phi3kit.ingest.peek import segments
from phi3kit.ingest.site import Site
from phi3kit.ingest.store import Store, create_store

_PAGE = 5000  # chunks per read
# Chroma's in the folder of an index. Whoever keeps a store among other files may have folders with
# such names of his own.
_INDEX_FILES = {"data_level0.bin", "header.bin", "index_metadata.pickle", "length.bin",
                "link_lists.bin"}


def stage(site: Site, collection: str, manifest: Manifest, *, neighbors: int | None = None,
          ) -> Store:
    """An empty collection that will take the place of `collection`.

    Args:
        neighbors: see `create_store`.

    Raises:
        StoreError: the folder cannot be written.
    """
    settle(site, collection)
    return create_store(site, staged_name(collection), manifest, neighbors=neighbors)


def publish(site: Site, collection: str) -> None:
    """The staged collection is complete: it takes the place of `collection`, now.

    Raises:
        StoreError: the folder cannot be written; whichever of the two was current stays so.
    """
    where = where_of(site, collection)
    with contextlib.closing(connect(site)) as client, explained(where):
        staged = client.get_collection(staged_name(collection), embedding_function=None)
        staged.modify(metadata={**(staged.metadata or {}), READY: True})
    settle(site, collection)


def settle(site: Site, collection: str) -> None:
    """Finish what a killed run left of a swap, or take it back.

    Raises:
        StoreError: the folder cannot be written.
    """
    if not is_there(site):
        return
    where = where_of(site, collection)
    with contextlib.closing(connect(site)) as client, explained(where):
        names = [held.name for held in client.list_collections()]
        if staged_name(collection) in names:
            _settle(client, collection, names)
    if isinstance(site, Path):
        _sweep(site)


def require_ours(site: Site, collection: str) -> Manifest | None:
    """Refuse a collection that phi3kit did not build, in any version.

    Returns:
        What it was built with; None where there is none, or that is of another version.

    Raises:
        StoreError: it did not.
    """
    where = where_of(site, collection)
    with contextlib.closing(connect(site)) as client:
        found = current(client, collection, where)
        if found is not None and not (found.metadata or {}).get(KEY):
            manifest_from("", where)
        if found is not None:
            with contextlib.suppress(StoreError):
                return manifest_from(found.metadata[KEY], where)
    return None


def sources(site: Site, collection: str) -> set[str]:
    """The documents that a collection of any version of ours holds; none if there is none.

    Raises:
        StoreError: it cannot be read.
    """
    if not is_there(site):
        return set()
    where = where_of(site, collection)
    held: set[str] = set()
    with contextlib.closing(connect(site)) as client:
        found = current(client, collection, where)
        if found is None:
            return held
        with explained(where):
            for offset in range(0, found.count(), _PAGE):
                page = found.get(include=["metadatas"], limit=_PAGE, offset=offset)
                for meta in page["metadatas"]:
                    held.update(meta.get("sources") or [meta["source"]])
    return held


def _settle(client: Any, collection: str, names: list[str]) -> None:
    staged = client.get_collection(staged_name(collection), embedding_function=None)
    if not (staged.metadata or {}).get(READY):
        client.delete_collection(staged.name)
        return
    if collection in names:
        client.delete_collection(collection)
    staged.modify(name=collection)
    staged.modify(metadata={KEY: staged.metadata[KEY]})


def _sweep(folder: Path) -> None:
    """Remove the indexes of deleted collections, which Chroma leaves behind."""
    live = segments(folder)
    if live is None:
        return
    for path in folder.iterdir():
        with contextlib.suppress(ValueError, OSError):
            if (str(uuid.UUID(path.name)) == path.name and path.name not in live
                    and {held.name for held in path.iterdir()} <= _INDEX_FILES):
                shutil.rmtree(path, ignore_errors=True)
