"""Chroma's client, and what it tells of collections by name. No other file imports chromadb."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from phi3kit.files import sha256_bytes
from phi3kit.ingest.faults import explained
from phi3kit.ingest.site import KEY as KEY_VARIABLE
from phi3kit.ingest.site import Site

_IMPORT = threading.Lock()
READY = "phi3kit:ready"  # of the mark that a staged collection is complete


def is_there(site: Site) -> bool:
    """Whether there is a store at all; a server is one, empty or not."""
    return not isinstance(site, Path) or (site / "chroma.sqlite3").is_file()


def exists(site: Site, collection: str) -> bool:
    """Whether the store has this collection."""
    if not is_there(site):
        return False
    with contextlib.closing(connect(site)) as client:
        return current(client, collection, where_of(site, collection)) is not None


def current(client: Any, collection: str, where: str) -> Any | None:
    """Chroma's collection of that name, or the one that is complete and about to take it."""
    staged = staged_name(collection)
    with explained(where):
        found = {held.name: held for held in client.list_collections()}
        if staged in found and (found[staged].metadata or {}).get(READY):
            return client.get_collection(staged, embedding_function=None)
        return (client.get_collection(collection, embedding_function=None)
                if collection in found else None)


def staged_name(collection: str) -> str:
    """Name of the collection that is built to take the place of `collection`."""
    return f"phi3kit-staged-{sha256_bytes(collection.encode())[:32]}"


def where_of(site: Site, collection: str) -> str:
    """The collection as messages name it."""
    return f"{site}, collection '{collection}'"


def connect(site: Site) -> Any:
    """Chroma's client of the store at `site`; a folder's store is made if it is missing.

    Raises:
        StoreError: the server cannot be reached, or refuses the key.
    """
    with explained(str(site)):
        chromadb = library()
        settings = chromadb.Settings(anonymized_telemetry=False)
        if isinstance(site, Path):
            path = str(site.resolve())
            try:
                return chromadb.PersistentClient(path=path, settings=settings)
            except BaseException:
                _let_go(path)
                raise
        key = os.environ.get(KEY_VARIABLE)
        logging.getLogger("httpx").setLevel(logging.WARNING)
        return chromadb.HttpClient(
            # The whole address: of a host that begins with "http" Chroma would drop the port.
            host=site.address, port=site.port, ssl=site.ssl, settings=settings,
            headers={"x-chroma-token": key} if key else None, tenant=site.tenant,
            database=site.database)


def begin_import() -> None:
    """Import Chroma meanwhile: it takes a second, in which files can be read."""
    threading.Thread(target=library, daemon=True).start()


@functools.cache
def library() -> Any:
    """Chroma, imported once, in silence."""
    with _IMPORT, warnings.catch_warnings(), _overriding_unchecked():
        warnings.simplefilter("ignore")
        import chromadb
    logging.getLogger("chromadb").setLevel(logging.CRITICAL)
    return chromadb


@contextlib.contextmanager
def _overriding_unchecked() -> Iterator[None]:
    """Let classes override methods without proof that they do it rightly.

    Chroma's own do: a quarter of its import is spent on proving it to the library `overrides`.
    """
    try:
        import overrides
    except ImportError:  # another version of Chroma, which does without
        yield
        return

    def marked(method: Any = None, **_: Any) -> Any:
        if method is None:
            return marked
        with contextlib.suppress(AttributeError):
            method.__override__ = True
        return method

    before = overrides.override, overrides.overrides
    overrides.override = overrides.overrides = marked
    try:
        yield
    finally:
        overrides.override, overrides.overrides = before


def _let_go(path: str) -> None:
    """Chroma keeps a database that it failed to open, and would hand that out again."""
    from chromadb.api.shared_system_client import SharedSystemClient

    if path not in SharedSystemClient._identifier_to_refcount:
        SharedSystemClient._identifier_to_system.pop(path, None)
