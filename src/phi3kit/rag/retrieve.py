"""The passages that answer a question, from a collection that ingest built."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar

from phi3kit.errors import StoreError
from phi3kit.progress import note
from phi3kit.rag.filters import Filters, read_filters
from phi3kit.rag.joined import FUSED, first, wording
from phi3kit.rag.merge import merge_neighbours
from phi3kit.records import Passage
from phi3kit.settings import IngestSettings

if TYPE_CHECKING:
    import numpy as np

    from phi3kit.ingest.embed import Embedder
    from phi3kit.ingest.rows import Place
    from phi3kit.ingest.store import Store
    from phi3kit.rag.lexical import LexicalIndex
    from phi3kit.rag.rerank import Reranker
    from phi3kit.settings import Settings

Mode = Literal["dense", "lexical", "hybrid"]

# Asked for on top of `k`, so that dropping passages of equal text seldom leaves fewer.
_SPARE = 4
# The passages of a question, and whether a deeper search could find more.
_Search = tuple[tuple[Passage, ...], bool]
_Found = TypeVar("_Found")
# Passages that a cross-encoder orders. Each costs a pass through the model at every question;
# past the first few dozen a ranking seldom holds what was asked for.
RERANKED = 30


class Retriever:
    """Passages by meaning (cosine similarity), by shared words (BM25), or by both.

    Args:
        lexical: the index of words, over the same collection; None searches by meaning alone.
        mode: what orders the passages when there is a `lexical`: its ranking alone, or its
            and the dense one joined by reciprocal rank fusion.
        filters: what may be found; None: everything. A passage that stands in several places
            is told with one that passes.
        reranker: orders anew what stands first in the ranking.
        reopen: opens `lexical` again, when others built the collection anew meanwhile.

    Raises:
        StoreError: no passage passes the filters.
    """

    def __init__(self, store: Store, embedder: Embedder, *, lexical: LexicalIndex | None = None,
                 mode: Mode = "dense", filters: Filters | None = None,
                 reranker: Reranker | None = None,
                 reopen: Callable[[], LexicalIndex] | None = None) -> None:
        self._store = store
        self._embedder = embedder
        self._lexical = lexical
        self._reopen = reopen
        self._indexed = "" if reopen is None else store.fingerprint
        self._mode = mode
        self._filters = filters
        self._places = _passing(store, filters)
        self._reranker = reranker
        self._how = (*(() if lexical is None else (mode,)), *(filters.texts if filters else ()),
                     *((reranker.fingerprint,) if reranker else ()))

    @property
    def fingerprint(self) -> str:
        """Identity of what is searched and how: chunks, embedder, mode, filters, reranker."""
        return "+".join((self._store.fingerprint, *self._how))

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
        depth = k if self._reranker is None else max(k, RERANKED)
        vectors = self._embedder.encode(list(questions))
        order = self._by_meaning if self._lexical is None else self._with_words
        found = order(questions, vectors, depth, min_similarity)
        if self._reranker is not None:
            found = [passages[:k] for passages in self._reranker.order(questions, found)]
        return found

    def similarities(self, questions: Sequence[str]) -> list[float]:
        """The cosine similarity of the passage nearest to each question, whatever the mode.

        It is what `min_similarity` is held against: below it nothing is found.
        """
        if not questions:
            return []
        near = self._nearest(self._embedder.encode(list(questions)), 1)
        return [max((p.score or 0.0 for p in found), default=-1.0) for found in near]

    def _nearest(self, vectors: np.ndarray, depth: int) -> list[list[Passage]]:
        found = self._among(
            lambda only: (self._store.query(vectors, depth) if only is None else
                          self._store.query(vectors, depth, only)))
        return [sorted(map(self._placed, passages),
                       key=lambda p: (-(p.score or 0.0), p.source, p.start))
                for passages in found]

    def _by_meaning(self, questions: Sequence[str], vectors: np.ndarray, k: int,
                    min_similarity: float) -> list[tuple[Passage, ...]]:
        def search(_: Sequence[str], vectors: np.ndarray, depth: int) -> list[_Search]:
            found = []
            for near in self._nearest(vectors, depth):
                chosen = _once([p for p in near if (p.score or 0.0) >= min_similarity], k)
                found.append((chosen, len(near) >= depth
                              and (near[-1].score or 0.0) >= min_similarity))
            return found

        return self._deep_enough(search, questions, vectors, k, k + _SPARE)

    def _with_words(self, questions: Sequence[str], vectors: np.ndarray, k: int,
                    min_similarity: float) -> list[tuple[Passage, ...]]:
        def search(questions: Sequence[str], vectors: np.ndarray, depth: int) -> list[_Search]:
            return self._joined(questions, vectors, k, min_similarity, depth)

        return self._deep_enough(search, questions, vectors, k, max(FUSED, k + _SPARE))

    def _deep_enough(self, search: Callable[[Sequence[str], np.ndarray, int], list[_Search]],
                     questions: Sequence[str], vectors: np.ndarray, k: int, depth: int,
                     ) -> list[tuple[Passage, ...]]:
        """What `search` finds; twice as deep again where equal texts left fewer than `k`."""
        found = search(questions, vectors, depth)
        chosen = [passages for passages, _ in found]
        short = [at for at, (passages, more) in enumerate(found) if more and len(passages) < k]
        if not short:
            return chosen
        size = self._store.count() if self._places is None else len(self._places)
        while short and depth < size:
            depth = min(2 * depth, size)
            found = search([questions[at] for at in short], vectors[short], depth)
            for at, (passages, _) in zip(short, found, strict=True):
                chosen[at] = passages
            short = [at for at, (passages, more) in zip(short, found, strict=True)
                     if more and len(passages) < k]
        return chosen

    def _joined(self, questions: Sequence[str], vectors: np.ndarray, k: int,
                min_similarity: float, depth: int) -> list[_Search]:
        near = self._among(lambda only: self._store.nearest(vectors, depth, only))
        shared = self._sharing(questions, depth)
        far = [max(found.values(), default=-math.inf) < min_similarity for found in near]
        held: dict[str, tuple[Passage, np.ndarray]] = {}
        gone: set[str] = set()
        fuse = self._mode == "hybrid"
        while True:  # what is read may show that more has to be, which is rare
            ranked = [([], set()) if out else first(found, words, k, held, gone, fuse=fuse)
                      for found, words, out in zip(near, shared, far, strict=True)]
            needed = set[str]().union(*(more for _, more in ranked))
            if not needed:
                break
            read = self._store.fetch(sorted(needed))
            gone |= needed.difference(read)
            held |= {id_: (self._placed(passage), vector)
                     for id_, (passage, vector) in read.items()}
        chosen = [tuple(replace(held[id_][0], score=found[id_] if id_ in found else
                                _cosine(held[id_][1], question)) for id_ in ids)
                  for (ids, _), found, question in zip(ranked, near, vectors, strict=True)]
        full = [not out and (len(words) >= depth or (fuse and len(found) >= depth))
                for found, words, out in zip(near, shared, far, strict=True)]
        return list(zip(chosen, full, strict=True))

    def _among(self, ask: Callable[[list[str] | None], _Found]) -> _Found:
        """What `ask` finds among the passages that pass the filters."""
        from phi3kit.ingest.faults import VanishedError

        if self._places is None:
            return ask(None)
        try:
            return ask(list(self._places))
        except VanishedError:  # others wrote to the collection meanwhile
            self._places = _passing(self._store, self._filters)
            return ask(list(self._places or ()))

    def _sharing(self, questions: Sequence[str], depth: int) -> list[list[str]]:
        """IDs of passages that share words with each question."""
        if self._reopen is not None and self._store.fingerprint != self._indexed:
            self._lexical, self._indexed = self._reopen(), self._store.fingerprint
        assert self._lexical is not None
        if self._places is None:
            return self._lexical.search(questions, depth)
        return self._lexical.search(questions, depth, self._places)

    def _placed(self, passage: Passage) -> Passage:
        """The passage at a place that passes the filters."""
        if self._places is None:
            return passage
        place = self._places[passage.id]
        return replace(passage, source=place.source, start=place.start, end=place.end,
                       page=place.page, heading=place.heading)


def _passing(store: Store, filters: Filters | None) -> dict[str, Place] | None:
    if filters is None:
        return None
    places = store.matching(filters.match)
    if not places:
        raise StoreError("no passage in the collection passes the filters",
                         where=", ".join(f"--filter {text}" for text in filters.texts),
                         mend="Loosen or leave out one; phi3kit search shows sources, pages "
                              "and headings")
    return places


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    """The similarity of two vectors of length 1."""
    return min(1.0, max(-1.0, float(one @ other)))


def _once(passages: Sequence[Passage], k: int) -> tuple[Passage, ...]:
    """The first `k`, of equal texts the first one only."""
    once: dict[str, Passage] = {}
    for passage in passages:
        once.setdefault(wording(passage), passage)
    return tuple(once.values())[:k]


def open_retriever(settings: Settings) -> Retriever:
    """The retriever over the collection and the embedder that `settings` name.

    Raises:
        SettingsError: a filter that cannot be read.
        StoreError: there is no such collection, it is empty, it was built with another
            embedder than the settings' one, or nothing in it passes the filters.
        ModelError: the embedder or the reranker cannot be loaded.
    """
    from phi3kit.ingest.client import where_of
    from phi3kit.ingest.embed import open_embedder
    from phi3kit.ingest.site import local_folder, site_of

    wanted = settings.ingest
    # First, for it costs nothing: what is wrong with them is said before anything is loaded.
    filters = read_filters(settings.ask.filters) if settings.ask.filters else None
    site, store = site_of(wanted.store), open_filled(wanted)
    built = store.manifest
    name = embedder_name(wanted.embedder, built.embedder)
    if name != wanted.embedder:
        note(f"questions are embedded with '{name}', as the collection was")
    # The collection's, not the settings': a question in another precision finds others.
    embedder = open_embedder(name, device=settings.model.device, precision=built.precision,
                             questions=True)
    if built.fingerprint != embedder.fingerprint:
        raise StoreError(
            f"built with the embedder '{built.embedder}', but the settings name "
            f"'{embedder.name}'", where=where_of(site, wanted.collection),
            mend=f"Set ingest.embedder to '{built.embedder}', or ingest into a new collection")
    mode = settings.ask.retrieval
    reranker = _open_reranker(settings)
    if mode == "dense":
        return Retriever(store, embedder, filters=filters, reranker=reranker)
    from phi3kit.rag.lexical import open_index

    folder = local_folder(site) / f"{wanted.collection}.words"

    def words() -> LexicalIndex:
        return open_index(folder, store.fingerprint, store.passages())

    return Retriever(store, embedder, lexical=words(), mode=mode, filters=filters,
                     reranker=reranker, reopen=words)


def open_filled(wanted: IngestSettings) -> Store:
    """The collection that the settings name; no embedder is loaded.

    Raises:
        StoreError: there is no such collection, or nothing in it.
    """
    from phi3kit.ingest.client import where_of
    from phi3kit.ingest.site import site_of
    from phi3kit.ingest.store import open_store

    site = site_of(wanted.store)
    store = open_store(site, wanted.collection)
    if store.count() == 0:
        raise StoreError("the collection is empty", where=where_of(site, wanted.collection),
                         mend="Run phi3kit ingest on your documents")
    return store


def embedder_name(wanted: str, built: str) -> str:
    """The settings' embedder; where they leave it at its default, the one that was built with.

    A collection may be another's: a provider, which would be sent the questions, has to be
    named by the user.
    """
    from phi3kit.ingest.remote import provider_of

    kept = wanted == built or wanted != IngestSettings().embedder or provider_of(built)
    return wanted if kept else built


def _open_reranker(settings: Settings) -> Reranker | None:
    if settings.ask.rerank is None:
        return None
    from phi3kit.rag.rerank import open_reranker

    return open_reranker(settings.ask.rerank, device=settings.model.device)
