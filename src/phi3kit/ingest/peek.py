"""A look at Chroma's database without Chroma, whose import alone costs half a second."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
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


def index_files(folder: Path, collection: str) -> dict[str, tuple[int, int]]:
    """Size and time of the last write of each file of a collection's index, by name in `folder`.

    Below a thousand chunks there is none: Chroma keeps the vectors in its database, and makes
    files without content whenever the collection is opened.
    """
    segment = vector_segment(folder, collection)
    if segment is None or not (folder / segment / "index_metadata.pickle").is_file():
        return {}
    return {name: written for path in sorted((folder / segment).iterdir())
            if (written := _written(folder, name := f"{segment}/{path.name}"))}


def is_as_written(folder: Path, files: Mapping[str, tuple[int, int]]) -> bool:
    """Whether the files of an index are still those that `index_files` told of."""
    return all(_written(folder, name) == written for name, written in files.items())


def _written(folder: Path, name: str) -> tuple[int, int] | None:
    try:
        status = (folder / name).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)
