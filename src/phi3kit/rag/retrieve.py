"""The passages that answer a question, from a collection that ingest built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from phi3kit.errors import StoreError
from phi3kit.rag.fusion import reciprocal_rank_fusion
from phi3kit.rag.merge import merge_neighbours
from phi3kit.records import Passage

if TYPE_CHECKING:
    import numpy as np

    from phi3kit.ingest.embed import Embedder
    from phi3kit.ingest.store import Store
    from phi3kit.rag.lexical import LexicalIndex
    from phi3kit.settings import Settings

Mode = Literal["dense", "lexical", "hybrid"]

# Asked for on top of `k`, so that dropping passages of equal text still leaves `k`.
_SPARE = 4
# Passages of each ranking that are fused, at least. On the sample's questions 50 lose against
# 10 (nDCG@10 0.81 against 0.84): what stands low in both would pass what leads one of them.
_FUSED = 10


class Retriever:
    """Passages by meaning (cosine similarity), by shared words (BM25), or by both.

    Args:
        lexical: the index of words, over the same collection; None searches by meaning alone.
        mode: what orders the passages when there is a `lexical`: its ranking alone, or its
            and the dense one joined by reciprocal rank fusion.

    Attributes:
        fingerprint: identity of what is searched and how: chunks, embedder and mode.
    """

    def __init__(self, store: Store, embedder: Embedder, *, lexical: LexicalIndex | None = None,
                 mode: Mode = "dense") -> None:
        self._store = store
        self._embedder = embedder
        self._lexical = lexical
        self._mode = mode
        self.fingerprint = store.fingerprint() + ("" if lexical is None else f"+{mode}")

    def retrieve(
        self, questions: Sequence[str], k: int, min_similarity: float,
    ) -> list[tuple[Passage, ...]]:
        """As `rank`, with passages that follow each other in a document joined."""
        return [merge_neighbours(found) for found in self.rank(questions, k, min_similarity)]

    def rank(
        self, questions: Sequence[str], k: int, min_similarity: float,
    ) -> list[tuple[Passage, ...]]:
        """The passages of each question, best first, each with its cosine similarity.

        Args:
            questions: embedded in one batch.
            k: passages per question, at most. Passages of equal text count once.
            min_similarity: cosine similarity, -1 to 1. By meaning alone, passages below it
                are left out. With words, all are left out when no passage reaches it: what
                shares a rare part number with the question may well be far from it in
                meaning, but where nothing is near the documents are about something else.

        Returns:
            One tuple per question, in order; empty where nothing is similar enough. Equal
            scores are ordered by source and position, so that a result never depends on
            the order in which chunks were stored.
        """
        if not questions:
            return []
        vectors = self._embedder.encode(list(questions))
        if self._lexical is None:
            return [_once([p for p in near if (p.score or 0.0) >= min_similarity], k)
                    for near in self._nearest(vectors, k + _SPARE)]
        return self._with_words(questions, vectors, k, min_similarity)

    def _nearest(self, vectors: np.ndarray, depth: int) -> list[list[Passage]]:
        return [sorted(found, key=lambda p: (-(p.score or 0.0), p.source, p.start))
                for found in self._store.query(vectors, depth)]

    def _with_words(self, questions: Sequence[str], vectors: np.ndarray, k: int,
                    min_similarity: float) -> list[tuple[Passage, ...]]:
        assert self._lexical is not None
        depth = max(_FUSED, k + _SPARE)
        near = self._nearest(vectors, depth)
        shared = self._lexical.search(questions, depth)
        held = self._store.fetch(sorted({id_ for ids in shared for id_ in ids}))
        found: list[tuple[Passage, ...]] = []
        for at, passages in enumerate(near):
            if not passages or (passages[0].score or 0.0) < min_similarity:
                found.append(())
                continue
            known = {p.id: p for p in passages}
            for id_ in shared[at]:
                if id_ not in known and id_ in held:
                    known[id_] = _scored(*held[id_], vectors[at])
            words = [id_ for id_ in shared[at] if id_ in known]
            order = words if self._mode == "lexical" else reciprocal_rank_fusion(
                [[p.id for p in passages], words])
            found.append(_once([known[id_] for id_ in order], k))
        return found


def _scored(passage: Passage, vector: np.ndarray, question: np.ndarray) -> Passage:
    """The passage with its cosine similarity; both vectors have length 1."""
    return replace(passage, score=min(1.0, max(-1.0, float(vector @ question))))


def _once(passages: Sequence[Passage], k: int) -> tuple[Passage, ...]:
    """The first `k`, of equal texts the first one only."""
    once: dict[str, Passage] = {}
    for passage in passages:
        once.setdefault(" ".join(passage.text.split()), passage)
    return tuple(once.values())[:k]


def open_retriever(settings: Settings) -> Retriever:
    """The retriever over the collection and the embedder that `settings` name.

    Raises:
        StoreError: there is no such collection, it is empty, or it was built with another
            embedder than the settings' one.
        ModelError: the embedder cannot be loaded.
    """
    from phi3kit.ingest.embed import open_embedder
    from phi3kit.ingest.store import open_store

    wanted = settings.ingest
    store = open_store(Path(wanted.store), wanted.collection)
    where = f"{wanted.store}, collection '{wanted.collection}'"
    if store.count() == 0:
        raise StoreError("the collection is empty", where=where,
                         mend="Run phi3kit ingest on your documents")
    embedder = open_embedder(wanted.embedder, device=settings.model.device)
    built = store.manifest
    if built.fingerprint != embedder.fingerprint:
        raise StoreError(
            f"built with the embedder '{built.embedder}', but the settings name "
            f"'{embedder.name}'", where=where,
            mend=f"Set ingest.embedder to '{built.embedder}', or ingest into a new collection")
    mode = settings.ask.retrieval
    if mode == "dense":
        return Retriever(store, embedder)
    from phi3kit.rag.lexical import open_index

    folder = Path(wanted.store) / f"{wanted.collection}.words"
    lexical = open_index(folder, store.fingerprint(), store.passages())
    return Retriever(store, embedder, lexical=lexical, mode=mode)
