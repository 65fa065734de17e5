"""What goes wrong inside Chroma, in one line of ours, or is kept from going wrong."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from phi3kit.errors import StoreError, first_line
from phi3kit.models.out_of_memory import is_out_of_memory

# Chroma rewrites its index in place, and one that does not fit is lost (see `mend`): a write
# needs this much room, and some times what it writes, for the database and its journal.
_ROOM = 16 * 2**20
_TIMES = 4
# What a server says of a tenant or a database that it does not have.
_UNKNOWN = re.compile(r"(?:Tenant|Database) \[[^]]*\] not found")
# What Chroma says when others replaced the collection, or took away chunks that were asked for.
_REPLACED = re.compile(r"Collection \[[^]]*\] does not exist")
_VANISHED = "Error finding id"
# What says nothing of the files: SQLite busy; no memory, no permission, no handles, no room.
_PASSING = re.compile(r"database is locked|os error (?:12|13|23|24|28)\b")


class ReplacedError(StoreError):
    """The collection that was opened is there no more; there may be another one of its name."""


class VanishedError(StoreError):
    """Chunks that were asked for by ID are there no more."""


class UnreadableError(StoreError):
    """Chroma failed at its own files, as far as can be told: they may be damaged."""


def require_room(folder: Path, size: int = 0) -> None:
    """Refuse a write that would fill the disk.

    Args:
        size: bytes that are to be written.

    Raises:
        StoreError: there is not enough room.
    """
    free = shutil.disk_usage(folder).free
    if free < _ROOM + _TIMES * size:
        raise StoreError(f"the disk is full: {free / 2**20:.0f} MiB are left", where=str(folder),
                         mend="Make room, then run phi3kit ingest again: it goes on from here")


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Chroma's errors, SQLite's and those of its Rust part become one line."""
    try:
        yield
    except (StoreError, KeyboardInterrupt, SystemExit, ImportError):
        raise
    except BaseException as error:
        # A panic of the Rust part is no Exception; anything else of that kind is not ours.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if _is_unreachable(error):
            raise StoreError("the Chroma server cannot be reached", where=where,
                             mend="Start it (chroma run), or correct ingest.store; then run "
                                  "the same again: it goes on from here") from error
        first = first_line(error)
        if is_out_of_memory(error):
            raise StoreError(f"out of memory in Chroma ({first})", where=where,
                             mend="Make room and run the same again: it goes on from "
                                  "here") from error
        if _UNKNOWN.search(first):
            raise StoreError(f"the Chroma server does not know it ({first})", where=where,
                             mend="Correct tenant and database in ingest.store, or make them "
                                  "on the server") from error
        if _REPLACED.search(first):
            raise ReplacedError("the collection was replaced or removed meanwhile", where=where,
                                mend="Run the same again") from error
        if _VANISHED in first:
            raise VanishedError("chunks were removed meanwhile", where=where,
                                mend="Run the same again; if it stays so, phi3kit doctor looks at "
                                     "the index") from error
        if _PASSING.search(first):
            raise StoreError(f"Chroma cannot do it now ({first})", where=where,
                             mend="Mend that and run the same again: it goes on from "
                                  "here") from error
        raise UnreadableError(f"Chroma cannot do it ({first})", where=where,
                              mend="If the store is damaged, run phi3kit ingest --rebuild, "
                                   "which puts it aside") from error


def _is_unreachable(error: BaseException) -> bool:
    """Whether it is the transport that failed: httpx's errors, or Chroma's word for them."""
    return (any(kind.__module__.startswith("httpx") and kind.__name__ == "TransportError"
                for kind in type(error).__mro__)
            or "Could not connect to a Chroma server" in str(error))
