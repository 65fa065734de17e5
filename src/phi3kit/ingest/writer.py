"""The writes of a run, in an order that a kill cannot harm.

First what is new: texts that the store has not are embedded and added, those that it has get
their new places. Only then what is old goes: places in files that changed or are gone, and
the texts that no place is left for. So a text that moves from one file to another is always
there to be recognised, and a run that is killed anywhere leaves passages that are all true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from phi3kit.ingest.batch import Content, File, contents_of, merged
from phi3kit.ingest.embed import Embedder
from phi3kit.ingest.rows import Place, Row
from phi3kit.ingest.store import Store

if TYPE_CHECKING:
    import numpy as np


# Texts that are embedded and stored together: what a provider was paid for is kept when it fails in
# the middle of a large file, and with 3,072 dimensions a server is sent 16 of the 40 MiB it takes.
_AT_ONCE = 256


class Writer:
    """Writes files into a collection, and counts.

    Args:
        opened: the collection, made when it is first needed.

    Attributes:
        touched: sources whose places were written or taken away.
        embedded: texts that were embedded; `tokens` is their length.
        deleted: texts that went.
    """

    def __init__(self, embedder: Embedder, opened: Callable[[], Store]) -> None:
        self._embedder = embedder
        self._opened = opened
        self._now: dict[str, set[str]] = {}  # IDs by source, of files that were there before
        self.touched: set[str] = set()
        self.embedded = self.tokens = self.deleted = 0

    def put(self, files: Sequence[File], known: Iterable[str]) -> None:
        """Store a group of files; what the store held of them before is still there.

        Args:
            known: those of them that the store held something of.
        """
        contents = contents_of(files)
        self._now |= {source: set() for source in known}
        for id_, content in contents.items():
            for place in content.places:
                if place.source in self._now:
                    self._now[place.source].add(id_)
        held = self._opened().rows(list(contents)) if contents else {}
        fresh, other = merged(contents, held, {file.source for file in files})
        self._add(fresh, contents,
                  {id_: vector for file in files for id_, vector in file.vectors.items()})
        if other:
            self._opened().relabel(other)
        for row in (*fresh, *other):
            before = held[row.id].places if row.id in held else ()
            self._touch(set(row.places) ^ set(before))

    def clear(self, deleted: Sequence[str]) -> None:
        """Take away the old places of all files that were put, and every place in `deleted`."""
        gone: set[str] = set()
        stripped: dict[str, Row] = {}
        old = {**self._now, **{source: set() for source in deleted}}
        for row in self._opened().rows_of(list(old)) if old else ():
            if row.id in gone:
                continue
            left = tuple(place for place in row.places
                         if place.source not in old or row.id in old[place.source])
            self._touch(set(row.places) - set(left))
            if not left:
                gone.add(row.id)
            elif left != row.places:
                stripped[row.id] = replace(row, places=left)
        if stripped:
            self._opened().relabel(list(stripped.values()))
        if gone:
            self._opened().delete(list(gone))
        self.deleted += len(gone)

    def _add(self, fresh: Sequence[Row], contents: dict[str, Content],
             vectors: dict[str, np.ndarray]) -> None:
        import numpy as np

        for at in range(0, len(fresh), _AT_ONCE):
            rows = fresh[at:at + _AT_ONCE]
            missing = [row for row in rows if row.id not in vectors]
            if missing:
                vectors |= zip((row.id for row in missing),
                               self._embedder.encode([row.embedded for row in missing]),
                               strict=True)
            self._opened().add(rows, np.stack([vectors.pop(row.id) for row in rows]))
            self.embedded += len(rows)
            self.tokens += sum(contents[row.id].chunk.tokens for row in rows)

    def _touch(self, places: Iterable[Place]) -> None:
        self.touched |= {place.source for place in places}
