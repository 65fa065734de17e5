"""A look at Chroma's database without Chroma, whose import alone costs half a second."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def peek(folder: Path, collection: str, staged: str) -> int | None:
    """The number of chunks of a collection that nothing is staged for.

    Args:
        staged: name of the collection that would take its place.

    Returns:
        None when it cannot be told this way: Chroma's tables are its own affair, so whoever
        gets None opens the store.
    """
    path = folder / "chroma.sqlite3"
    if not path.is_file():
        return None
    try:
        with contextlib.closing(_reading(path)) as connection:
            found = dict(connection.execute(
                "SELECT c.name, (SELECT count(*) FROM embeddings e JOIN segments s "
                "ON e.segment_id = s.id WHERE s.collection = c.id) "
                "FROM collections c WHERE c.name IN (?, ?)", (collection, staged)).fetchall())
    except sqlite3.Error:
        return None
    return None if staged in found else found.get(collection)


def segments(folder: Path) -> set[str] | None:
    """Names of the folders that Chroma's indexes may use; None when it cannot be told."""
    try:
        with contextlib.closing(_reading(folder / "chroma.sqlite3")) as connection:
            return {str(name) for name, in connection.execute("SELECT id FROM segments")}
    except sqlite3.Error:
        return None


def vector_segment(folder: Path, collection: str) -> str | None:
    """Name of the folder of a collection's index; None when it cannot be told."""
    try:
        with contextlib.closing(_reading(folder / "chroma.sqlite3")) as connection:
            found = connection.execute(
                "SELECT s.id FROM segments s JOIN collections c ON s.collection = c.id "
                "WHERE c.name = ? AND s.scope = 'VECTOR'", (collection,)).fetchone()
    except sqlite3.Error:
        return None
    return None if found is None else str(found[0])


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)
