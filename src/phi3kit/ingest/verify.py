"""Is every chunk found by its own vector? If not, the index is built anew from the vectors.

Chroma's index is a graph (HNSW; Malkov & Yashunin 2016, arXiv:1603.09320) that is searched
from neighbour to neighbour. Deleting and overwriting can cut off nodes that are still there:
they are counted and listed, and no search arrives at them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi3kit.ingest.client import staged_name
from phi3kit.ingest.site import Site
from phi3kit.ingest.store import Store, open_store
from phi3kit.ingest.swap import publish, stage
from phi3kit.progress import bar

if TYPE_CHECKING:
    import numpy as np

# Up to this many chunks all are looked for; in a larger collection, random pages of as many.
ALL_UP_TO = 50_000
NEAREST = 10
# A search for this many goes so far through the graph that what it misses is cut off.
_FAR = 1000
# Distances are computed in float32: nearer than this, vectors are alike.
_ALIKE = 1e-5
# Links of a node in a new index, from Chroma's default on: where vectors lie very close
# together, more of them lead to each. With the most, an index is as good as it gets.
_NEIGHBORS = (16, 32, 64)
# Further tries with the most: an index is built by several threads, so that each comes out
# another, and nodes that stand first in it get links from those that follow.
_AGAIN = 3


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked for, and what was not found.

    Attributes:
        chunks: in the collection.
        looked: chunks that were looked for.
        missing: IDs of those that were not found.
        cut_off: those of them that even a search of a thousand did not arrive at.
        neighbors: links of each chunk in the index's graph.
    """

    chunks: int
    looked: int
    missing: tuple[str, ...]
    cut_off: tuple[str, ...]
    neighbors: int

    @property
    def mendable(self) -> bool:
        """Whether a new index would find more."""
        return bool(self.cut_off or (self.missing and self.neighbors < _NEIGHBORS[-1]))

    @property
    def complaint(self) -> str:
        """What to say when this is how a new index looks; "" when all is well."""
        return "" if not self.cut_off else (
            f"{len(self.cut_off):,} of {self.looked:,} chunks are not found by their own "
            "vectors, even in a new index")


def verify(store: Store) -> Verified:
    """Search the collection with the vectors of its chunks.

    A chunk is missing when it is not among the 10 nearest, though one of those is farther
    from its vector than the chunk itself.

    Raises:
        StoreError: the index cannot be read.
    """
    chunks = store.count()
    share = min(1.0, ALL_UP_TO / chunks) if chunks else 1.0
    looked = 0
    missing: list[str] = []
    cut_off: list[str] = []
    for ids, vectors in store.vectors(share):
        lost = _lost(store, ids, vectors, min(NEAREST, chunks))
        missing += [ids[at] for at in lost]
        if lost:
            far = _lost(store, [ids[at] for at in lost], vectors[lost], min(_FAR, chunks))
            cut_off += [ids[lost[at]] for at in far]
        looked += len(ids)
    return Verified(chunks, looked, tuple(missing), tuple(cut_off), store.neighbors)


def _lost(store: Store, ids: Sequence[str], vectors: np.ndarray, k: int) -> list[int]:
    """Indices of the chunks that a search for `k` does not find."""
    own = 1.0 - (vectors * vectors).sum(axis=1)
    return [at for at, (id_, distance, near)
            in enumerate(zip(ids, own, store.nearest_ids(vectors, k), strict=True))
            if not _among(id_, distance, near)]


def _among(id_: str, distance: float, near: list[tuple[str, float]]) -> bool:
    if any(id_ == other for other, _ in near):
        return True
    return bool(near) and near[-1][1] <= distance + _ALIKE


def reindex(site: Site, collection: str) -> Verified:
    """Build the index anew from the vectors that are there, and take it into use when whole.

    Returns:
        What is found in the new one; something may be missing still where very many vectors
        are nearly alike.

    Raises:
        StoreError: the vectors cannot be read, or the folder cannot be written.
    """
    with contextlib.closing(open_store(site, collection)) as old:
        least = min(old.neighbors, _NEIGHBORS[-1])
        tries = [links for links in _NEIGHBORS if links >= least] + [_NEIGHBORS[-1]] * _AGAIN
        lost: frozenset[str] = frozenset()
        for neighbors in tries:
            staged = stage(site, collection, old.manifest, neighbors=neighbors)
            with contextlib.closing(staged) as new:
                _copy(old, new, first=lost)
            # Opened anew, as readers will: Chroma then adds to the part of the graph that it
            # wrote what it has only logged, and the graph is another one.
            with contextlib.closing(open_store(site, staged_name(collection))) as new:
                found = verify(new)
            if not found.mendable:
                break
            lost = frozenset(found.missing)
    publish(site, collection)
    return found


def _copy(old: Store, new: Store, *, first: frozenset[str]) -> None:
    """All rows with their vectors, those whose IDs are in `first` before the others."""
    import numpy as np

    with bar("building the index anew", old.count()) as advance:
        for leading in (True, False) if first else (False,):
            for rows, vectors in old.with_vectors():
                at = [n for n, row in enumerate(rows) if (row.id in first) == leading]
                if at:
                    new.add([rows[n] for n in at], vectors[np.asarray(at)])
                    advance(len(at))
