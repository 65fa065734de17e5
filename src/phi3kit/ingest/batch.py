"""Files on their way into the store: together in batches, each text once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from phi3kit.ingest.chunking import Chunk
from phi3kit.ingest.rows import Place, Row, above, identity, in_order
from phi3kit.records import Failure

if TYPE_CHECKING:
    import numpy as np

# Files are committed together once they have this many chunks: a second of work or some, so that
# little is left to store when the last are embedded. The first are fewer, so that what waits for
# them begins early.
_CHUNKS = 128
_FIRST_CHUNKS = 32


@dataclass(frozen=True, slots=True)
class File:
    """A file that was read and cut, and is not stored yet.

    Attributes:
        sha256: hash of the bytes that were read.
        problems: parts of it that could not be read.
        vectors: float32 [dimension], of length 1, by ID: of the texts that were embedded on
            the way.
    """

    source: str
    sha256: str
    chunks: list[Chunk]
    problems: tuple[Failure, ...]
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(slots=True)
class Content:
    """A text that stands in the files of a group.

    Attributes:
        chunk: its first occurrence, for the text and what is embedded.
        places: all of them.
    """

    chunk: Chunk
    places: list[Place] = field(default_factory=list)


def groups(files: Iterable[File | Failure]) -> Iterator[list[File | Failure]]:
    """Files to commit together, read one group at a time, those that failed among them."""
    group: list[File | Failure] = []
    chunks, enough = 0, min(_FIRST_CHUNKS, _CHUNKS)
    for file in files:
        group.append(file)
        chunks += len(file.chunks) if isinstance(file, File) else 0
        if chunks >= enough:
            yield group
            group, chunks, enough = [], 0, min(_CHUNKS, 2 * enough)
    if group:
        yield group


def contents_of(files: Sequence[File]) -> dict[str, Content]:
    """The files' texts by ID, in order of their first occurrence."""
    contents: dict[str, Content] = {}
    for file in files:
        for chunk in file.chunks:
            content = contents.setdefault(identity(chunk), Content(chunk))
            content.places.append(Place(
                file.source, chunk.start, chunk.end, chunk.page, chunk.heading, file.sha256,
                len(file.chunks), len(file.problems)))
    return contents


def merged(contents: Mapping[str, Content], held: Mapping[str, Row],
           sources: set[str]) -> tuple[list[Row], list[Row]]:
    """What to add and what to relabel so that the store knows the places of a group's files.

    Args:
        contents: the group's texts.
        held: those of them that the store has already.
        sources: the group's files: their former places give way to the new ones.

    Returns:
        Rows that are new, and rows whose places differ from what is held.
    """
    fresh, other = [], []
    for id_, content in contents.items():
        before = held.get(id_)
        if before is None:
            fresh.append(Row(id_, above(content.chunk), content.chunk.text,
                             in_order(content.places)))
            continue
        staying = (place for place in before.places if place.source not in sources)
        row = replace(before, places=in_order((*staying, *content.places)))
        if row != before:
            other.append(row)
    return fresh, other
