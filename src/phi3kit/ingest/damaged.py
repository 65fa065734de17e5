"""A database that cannot be read: put aside, so that a store can be built in its place."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import uuid
from pathlib import Path

from phi3kit.errors import StoreError
from phi3kit.ingest.site import Site

_DATABASE = "chroma.sqlite3"
# What SQLite calls a file that is not one of its own, or not any more.
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def is_damaged(site: Site) -> bool:
    """Whether the store's database is no database; a server's is its own affair.

    One that is locked or may not be read is not damaged. All of its pages are read, which
    takes about a second for a gigabyte.
    """
    if not isinstance(site, Path) or not (site / _DATABASE).is_file():
        return False
    uri = f"{(site / _DATABASE).resolve().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=1)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
        return found is None or found[0] != "ok"
    except sqlite3.Error as error:
        return (error.sqlite_errorname or "").startswith(_DAMAGE)


def put_aside(folder: Path) -> Path:
    """Move Chroma's files into a folder of their own in the store; nothing is deleted.

    Raises:
        StoreError: the folder cannot be written.
    """
    aside = folder / time.strftime("damaged-%Y%m%d-%H%M%S")
    try:
        aside.mkdir()
        for path in sorted(folder.iterdir()):
            if path.name.startswith(_DATABASE) or _is_index(path):
                path.rename(aside / path.name)
    except OSError as error:
        raise StoreError(f"the damaged database cannot be put aside ({error.strerror or error})",
                         where=str(folder), mend="Move the store's folder away") from error
    return aside


def _is_index(path: Path) -> bool:
    """Chroma names the folder of an index by a UUID."""
    try:
        return str(uuid.UUID(path.name)) == path.name and path.is_dir()
    except ValueError:
        return False
