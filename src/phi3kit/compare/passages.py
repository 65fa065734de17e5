"""What the arms are given to read: found once for all, the right ones, or everything."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from phi3kit.compare.words import contains
from phi3kit.dataset.sources import same_source
from phi3kit.errors import RunError
from phi3kit.rag.merge import merge_neighbours
from phi3kit.records import Passage, Question

if TYPE_CHECKING:
    from phi3kit.ingest.embed import Embedder
    from phi3kit.ingest.store import Store
    from phi3kit.models.generate import Generator
    from phi3kit.rag.retrieve import Retriever
    from phi3kit.settings import AskSettings, Settings


class Reader(Protocol):
    """Whatever finds passages for questions, as `Retriever.retrieve` does."""

    def retrieve(self, questions: Sequence[str], k: int,
                 min_similarity: float) -> list[tuple[Passage, ...]]:
        """The passages of each question, best first."""
        ...


class SharedPassages:
    """A retriever that searches once and gives every arm the same passages.

    Attributes:
        fingerprint: identity of the index, as it is now.
        searched: questions that were searched for; `seconds` is what that took.
    """

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self.searched, self.seconds = 0, 0.0
        self._found: dict[tuple[str, int, float], tuple[Passage, ...]] = {}

    @property
    def fingerprint(self) -> str:
        """Identity of the index."""
        return self._retriever.fingerprint

    def warm(self) -> None:
        """Load embedder and index now, or the first arm that searches would be charged for it."""
        self._retriever.similarities(["?"])

    def retrieve(self, questions: Sequence[str], k: int,
                 min_similarity: float) -> list[tuple[Passage, ...]]:
        """As `Retriever.retrieve`; each question is searched for at most once."""
        new = [q for q in dict.fromkeys(questions) if (q, k, min_similarity) not in self._found]
        if new:
            started = time.perf_counter()
            found = self._retriever.retrieve(new, k, min_similarity)
            self.seconds += time.perf_counter() - started
            self.searched += len(new)
            for question, passages in zip(new, found, strict=True):
                self._found[question, k, min_similarity] = passages
        return [self._found[question, k, min_similarity] for question in questions]


class RightPassages:
    """Passages of the documents that hold the answer, as a search without mistakes finds them.

    Of those documents' passages the first are the ones in which a gold answer stands word for
    word, then those nearest to the question; as many as `ask` would show. A question that
    names no document gets what the search finds: to be right about what is in no document is
    no matter of retrieval.
    """

    def __init__(self, store: Store, embedder: Embedder, questions: Iterable[Question],
                 search: Reader) -> None:
        self._store = store
        self._embedder = embedder
        self._search = search
        self._asked: dict[str, Question] = {}
        for question in questions:
            if question.source_ids:
                self._asked.setdefault(question.question, question)

    def retrieve(self, questions: Sequence[str], k: int,
                 min_similarity: float) -> list[tuple[Passage, ...]]:
        """As `Retriever.retrieve`; no passage is too dissimilar."""
        others = iter(self._search.retrieve(
            [q for q in questions if q not in self._asked], k, min_similarity))
        return [self._right(self._asked[q], k) if q in self._asked else next(others)
                for q in questions]

    def _right(self, question: Question, k: int) -> tuple[Passage, ...]:
        ids = list(self._store.matching(lambda place: any(
            same_source(place.source, wanted) for wanted in question.source_ids)))
        if not ids:
            raise RunError(f"the documents of question '{question.id}' "
                           f"({', '.join(question.source_ids)}) are not in the collection",
                           where="oracle-rag",
                           mend="Ingest them, correct source_ids, or leave this arm out")
        vector = self._embedder.encode([question.question])[0]
        held = self._store.fetch(ids)

        def order(item: tuple[Passage, float]) -> tuple[float, float, str, int]:
            passage, nearness = item
            return (-contains(passage.text, question.answers), -nearness, passage.source,
                    passage.start)

        near = sorted(((p, float(v @ vector)) for p, v in held.values()), key=order)
        return merge_neighbours([passage for passage, _ in near[:k]])


class WholeCorpus:
    """Every passage of the collection, in the order of the documents, for every question."""

    def __init__(self, store: Store) -> None:
        joined: list[Passage] = []
        for passage in sorted(store.passages(), key=lambda p: (p.source, p.start, p.end)):
            joined[-1:] = merge_neighbours([*joined[-1:], passage])
        self.passages = tuple(joined)

    def retrieve(self, questions: Sequence[str], k: int,
                 min_similarity: float) -> list[tuple[Passage, ...]]:
        """All passages for each question; nothing is searched for, so `k` has no say."""
        return [self.passages for _ in questions]

    def refuse_if_too_long(self, questions: Iterable[str], generator: Generator,
                           ask: AskSettings) -> None:
        """Stop when the documents do not fit into the model's context with every question.

        Raises:
            RunError: with the tokens that are needed, and those that there are.
        """
        from phi3kit.rag.prompt import build

        longest = max(questions, key=lambda q: generator.count_tokens(
            [{"role": "user", "content": q}]))
        needed = generator.count_tokens(
            build(longest, self.passages, instruction=ask.instruction))
        room = generator.context - ask.max_new_tokens
        if needed > room:
            raise RunError(
                f"all documents with the longest question are {needed} tokens, and the model's "
                f"context of {generator.context} leaves {room} beside {ask.max_new_tokens} for "
                "the answer", where="full-context",
                mend="Leave out this arm, or take a model with a longer context")


def right_passages(settings: Settings, questions: Iterable[Question],
                   search: Reader) -> RightPassages:
    """The oracle over the collection that `settings` name, with the embedder that searches it.

    Raises:
        StoreError, ModelError: as `open_retriever`.
    """
    from phi3kit.ingest.embed import open_embedder
    from phi3kit.rag.retrieve import embedder_name

    store = _store(settings)
    built = store.manifest
    embedder = open_embedder(embedder_name(settings.ingest.embedder, built.embedder),
                             device=settings.model.device, precision=built.precision,
                             questions=True)
    return RightPassages(store, embedder, questions, search)


def whole_corpus(settings: Settings) -> WholeCorpus:
    """Everything in the collection that `settings` name."""
    return WholeCorpus(_store(settings))


def _store(settings: Settings) -> Store:
    from phi3kit.ingest.site import site_of
    from phi3kit.ingest.store import open_store

    return open_store(site_of(settings.ingest.store), settings.ingest.collection)


def readers(names: Iterable[str], settings: Settings,
            questions: Sequence[Question]) -> Mapping[str, Reader]:
    """The readers called `names`: "search", "oracle", "all".

    Raises:
        StoreError, ModelError: the collection or its embedder cannot be opened.
    """
    from phi3kit.rag.retrieve import open_retriever

    wanted = set(names)
    found: dict[str, Reader] = {}
    if wanted & {"search", "oracle"}:
        search = found["search"] = SharedPassages(open_retriever(settings))
        search.warm()
    if "oracle" in wanted:
        found["oracle"] = right_passages(settings, questions, found["search"])
    if "all" in wanted:
        found["all"] = whole_corpus(settings)
    return found
