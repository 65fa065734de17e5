"""A Chroma collection that is open: its rows, vectors and queries."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.errors import StoreError
from phi3kit.files import sha256_bytes
from phi3kit.ingest import lease
from phi3kit.ingest.client import connect, current, is_there, where_of
from phi3kit.ingest.collection import KEY, PAGE, Collection
from phi3kit.ingest.faults import explained, require_room
from phi3kit.ingest.manifest import Manifest
from phi3kit.ingest.rows import Place, Row, passage_of, places_of
from phi3kit.ingest.site import Site
from phi3kit.records import Passage

if TYPE_CHECKING:
    import numpy as np

FINGERPRINT = "phi3kit:index"  # of the fingerprint in the collection's metadata
DEFAULT_NEIGHBORS = 16  # Chroma's, and where the index is of another kind
_VECTORS = 256  # chunks per read where vectors are read too


class Store:
    """What a collection holds, read and written row by row."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._fingerprints: dict[str, str] = {}  # by the ID of the collection

    @property
    def manifest(self) -> Manifest:
        """What the collection was built with."""
        return self._collection.manifest

    def close(self) -> None:
        """Let go of the files, so that the folder can be deleted and made again."""
        self._collection.close()

    def count(self) -> int:
        """Number of chunks."""
        return int(self._collection.read(operator.methodcaller("count")))

    @property
    def neighbors(self) -> int:
        """Links of each chunk in the index's graph (see `create_store`)."""
        hnsw = self._collection.configuration.get("hnsw") or {}
        return int(hnsw.get("max_neighbors", DEFAULT_NEIGHBORS))

    def query(self, vectors: np.ndarray, k: int,
              only: Sequence[str] | None = None) -> list[list[Passage]]:
        """The `k` nearest passages of each vector, best first, scored by cosine similarity.

        Args:
            vectors: float32 [n, dimension].
            k: at most this many; fewer when the collection is smaller.
            only: IDs of the passages to choose from, at least one; None: all.

        Raises:
            VanishedError: some of `only` are not there any more.
        """
        if not len(vectors):
            return []
        found = self._collection.read(lambda raw: raw.query(
            query_embeddings=vectors, n_results=max(1, k),
            ids=None if only is None else list(only),
            include=["documents", "metadatas", "distances"]), only)
        return [
            [passage_of(id_, text, meta, _similarity(distance))
             for id_, text, meta, distance in zip(*row, strict=True)]
            for row in zip(found["ids"], found["documents"], found["metadatas"],
                           found["distances"], strict=True)
        ]

    def nearest(self, vectors: np.ndarray, k: int,
                only: Sequence[str] | None = None) -> list[dict[str, float]]:
        """As `query`, but IDs with their similarities alone, in half of its time."""
        return [{id_: _similarity(distance) for id_, distance in found}
                for found in self.nearest_ids(vectors, k, only)]

    def fetch(self, ids: Sequence[str]) -> dict[str, tuple[Passage, np.ndarray]]:
        """Passages by ID, each with its vector, float32 [dimension]; unknown IDs are absent."""
        held: dict[str, tuple[Passage, np.ndarray]] = {}
        for at in range(0, len(ids), PAGE):
            page = self._collection.read(operator.methodcaller(
                "get", ids=list(ids[at:at + PAGE]),
                include=["documents", "metadatas", "embeddings"]))
            for id_, text, meta, vector in zip(page["ids"], page["documents"], page["metadatas"],
                                               page["embeddings"], strict=True):
                held[id_] = passage_of(id_, text, meta, None), vector
        return held

    def passages(self) -> Iterator[Passage]:
        """Every passage, in the order of the store."""
        for page in self._collection.pages(["documents", "metadatas"]):
            for id_, text, meta in zip(page["ids"], page["documents"], page["metadatas"],
                                       strict=True):
                yield passage_of(id_, text, meta, None)

    @property
    def fingerprint(self) -> str:
        """Identity of the index: hash of the embedder's identity, the chunks and their places.

        IDs are made from the chunks' content, so equal fingerprints find equal passages, and
        cite them alike. As `keep` left it, else from every row: seconds for a hundred
        thousand.
        """
        held = self._collection
        if held.id not in self._fingerprints:
            self._fingerprints[held.id] = held.metadata.get(FINGERPRINT) or self._hash_rows()
        return self._fingerprints[held.id]

    def keep(self, manifest: Manifest) -> None:
        """After the last write: keep the fingerprint, and the manifest, with the collection."""
        if FINGERPRINT not in self._collection.metadata or manifest != self.manifest:
            fingerprint, self._collection.manifest = self.fingerprint, manifest
            self._label({FINGERPRINT: fingerprint})

    def forget_fingerprint(self) -> None:
        """Before the first write: what is kept will no longer be so."""
        self._fingerprints.clear()
        if FINGERPRINT in self._collection.metadata:
            self._label({})

    def _label(self, more: Mapping[str, str]) -> None:
        """Replace the collection's metadata by our manifest and `more`."""
        self._collection.write(operator.methodcaller(
            "modify", metadata={KEY: self.manifest.as_text(), **more}))

    def _hash_rows(self) -> str:
        seen = sorted("\n".join((id_, *meta["places"]))
                      for page in self._collection.pages(["metadatas"])
                      for id_, meta in zip(page["ids"], page["metadatas"], strict=True))
        return "sha256:" + sha256_bytes("\n".join([self.manifest.fingerprint, *seen]).encode())

    def matching(self, test: Callable[[Place], bool]) -> dict[str, Place]:
        """Of every passage that has a place which passes, its ID and the first such place."""
        held: dict[str, Place] = {}
        for page in self._collection.pages(["metadatas"]):
            for id_, meta in zip(page["ids"], page["metadatas"], strict=True):
                place = next(filter(test, places_of(meta)), None)
                if place is not None:
                    held[id_] = place
        return held

    def ids(self) -> Iterator[str]:
        """The ID of every chunk."""
        for page in self._collection.pages([]):
            yield from page["ids"]

    def rows(self, ids: Sequence[str]) -> dict[str, Row]:
        """The rows of those IDs that the collection holds."""
        held = {}
        for at in range(0, len(ids), PAGE):
            page = self._collection.read_this(operator.methodcaller(
                "get", ids=list(ids[at:at + PAGE]), include=["documents", "metadatas"]))
            held.update({row.id: row for row in _rows(page)})
        return held

    def rows_of(self, sources: Sequence[str]) -> Iterator[Row]:
        """Every row with a place in one of `sources`; once for each hundred of them."""
        for at in range(0, len(sources), 100):
            asked = [{"sources": {"$contains": source}} for source in sources[at:at + 100]]
            where = asked[0] if len(asked) == 1 else {"$or": asked}
            # All of them at once: the caller's writes would shift the pages under it.
            yield from [row for page in self._collection.pages(["documents", "metadatas"], where)
                        for row in _rows(page)]

    def all_rows(self) -> Iterator[list[Row]]:
        """Every row, a page at a time; the index is not needed for it."""
        for page in self._collection.pages(["documents", "metadatas"]):
            yield _rows(page)

    def with_vectors(self, share: float = 1.0) -> Iterator[tuple[list[Row], np.ndarray]]:
        """Rows with their vectors, a page at a time; vectors are float32 [rows, dimension].

        Args:
            share: of the pages, 0 to 1, chosen at random; 1 is every row.
        """
        for page, vectors in self._with_vectors(share, ["documents", "metadatas"]):
            yield _rows(page), vectors

    def vectors(self, share: float = 1.0) -> Iterator[tuple[list[str], np.ndarray]]:
        """As `with_vectors`, but IDs alone, in a third of its time."""
        for page, vectors in self._with_vectors(share, []):
            yield page["ids"], vectors

    def _with_vectors(self, share: float, include: list[str],
                      ) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        import numpy as np

        pages = math.ceil(self.count() / _VECTORS)
        for number in sorted(random.sample(range(pages), math.ceil(share * pages))):
            page = self._collection.read_this(operator.methodcaller(
                "get", include=[*include, "embeddings"], limit=_VECTORS,
                offset=number * _VECTORS))
            yield page, np.asarray(page["embeddings"], dtype=np.float32)

    def nearest_ids(self, vectors: np.ndarray, k: int,
                    only: Sequence[str] | None = None) -> list[list[tuple[str, float]]]:
        """IDs and cosine distances of the `k` nearest of each vector, the nearest first."""
        found = self._collection.read(lambda raw: raw.query(
            query_embeddings=vectors, n_results=k, ids=None if only is None else list(only),
            include=["distances"]), only)
        return [list(zip(ids, distances, strict=True)) for ids, distances
                in zip(found["ids"], found["distances"], strict=True)]

    def add(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        """Add rows with their vectors, float32 [len(rows), dimension]."""
        for at in self._collection.batches(len(rows)):
            batch = rows[at]
            self._collection.write(
                operator.methodcaller(
                    "upsert", ids=[row.id for row in batch], embeddings=vectors[at],
                    documents=[row.text for row in batch],
                    metadatas=[_whole(row.metadata()) for row in batch]),
                size=vectors[at].nbytes + sum(len(row.text) for row in batch))

    def relabel(self, rows: Sequence[Row]) -> None:
        """Bring the places of rows that are there already up to date."""
        for at in self._collection.batches(len(rows)):
            self._collection.write(operator.methodcaller(
                "update", ids=[row.id for row in rows[at]],
                metadatas=[row.metadata() for row in rows[at]]))

    def delete(self, ids: Sequence[str]) -> None:
        """Delete chunks by ID."""
        for at in self._collection.batches(len(ids)):
            self._collection.write(operator.methodcaller("delete", ids=list(ids[at])))


def open_store(site: Site, collection: str) -> Store:
    """Open a collection to read; other processes may write to it meanwhile.

    While one of them builds it anew this is the old one, and the new one from the moment that
    it is complete.

    Raises:
        StoreError: no such store or collection, a damaged one, or one that is not ours.
    """
    where = where_of(site, collection)
    if not is_there(site):
        raise StoreError("there is no store", where=str(site),
                         mend="Run phi3kit ingest on your documents")
    client = connect(site)
    found = current(client, collection, where)
    if found is None:
        with explained(where):
            names = sorted(held.name for held in client.list_collections()
                           if not held.name.startswith(lease.PREFIX))
        have = f"; there is {', '.join(names[:5])}" if names else ""
        raise StoreError(f"there is no such collection{have}", where=where,
                         mend="Run phi3kit ingest on your documents")
    return Store(Collection(client, found, site, where, name=collection))


def create_store(site: Site, collection: str, manifest: Manifest, *,
                 neighbors: int | None = None) -> Store:
    """Make an empty collection; `manifest` is kept with it.

    Args:
        neighbors: links of each chunk in the index's graph; None: Chroma's default. More of
            them cost memory, and find chunks that are hard to reach.

    Raises:
        StoreError: the name is taken or not allowed, or the folder cannot be written.
    """
    where = where_of(site, collection)
    if isinstance(site, Path):
        site.mkdir(parents=True, exist_ok=True)
        require_room(site)
    client = connect(site)
    index: dict[str, Any] = {"space": manifest.distance}
    if neighbors is not None:
        index |= {"max_neighbors": neighbors, "ef_construction": 8 * neighbors}
    with explained(where):
        made = client.create_collection(
            collection, embedding_function=None, metadata={KEY: manifest.as_text()},
            configuration={"hnsw": index})
    return Store(Collection(client, made, site, where))


def _similarity(distance: float) -> float:
    """The cosine similarity; rounding may leave a distance just outside of 0 to 2."""
    return min(1.0, max(-1.0, 1.0 - distance))


def _whole(metadata: dict[str, Any]) -> dict[str, Any]:
    """Without what is None: a new row has nothing to take away, and servers refuse it."""
    return {key: value for key, value in metadata.items() if value is not None}


def _rows(page: Mapping[str, Any]) -> list[Row]:
    return [Row(id_, meta["above"], text, places_of(meta)) for id_, text, meta
            in zip(page["ids"], page["documents"], page["metadatas"], strict=True)]
