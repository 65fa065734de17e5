"""Three documents, questions about them, and what stands in for a store and an embedder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from phi3kit.records import Passage
from speaks_openai import vector_of

DOCUMENTS = {
    "docs/winch.md": "The winch needs marine grease number four.",
    "docs/crane.md": "The crane lifts 12 tonnes at 8 metres.",
    "docs/gate.md": "The seal of the north gate is checked every seven days.",
}
QUESTIONS = [
    {"id": "w1", "question": "Which grease does the winch need?", "answers": ["number four"],
     "source_ids": ["winch.md"], "kind": "fact"},
    {"id": "w2", "question": "What is the winch greased with?", "answers": ["marine grease"],
     "source_ids": ["winch.md"], "kind": "fact"},
    {"id": "c1", "question": "How much does the crane lift?", "answers": ["12 tonnes"],
     "source_ids": ["crane.md"], "kind": "fact"},
    {"id": "g1", "question": "How often is the seal checked?", "answers": ["every seven days"],
     "source_ids": ["gate.md"], "kind": "fact"},
    {"id": "n1", "question": "Who painted the crane?", "answerable": False, "kind": "none"},
]


class Searcher:
    """Stands in for the collection: passages by shared words, and a count of what was asked."""

    fingerprint = "sha256:three documents"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def retrieve(self, questions: Sequence[str], k: int,
                 min_similarity: float) -> list[tuple[Passage, ...]]:
        self.asked += questions
        return [self._search(question)[:k] for question in questions]

    def similarities(self, questions: Sequence[str]) -> list[float]:
        return [0.5] * len(questions)

    def _search(self, question: str) -> tuple[Passage, ...]:
        words = set(question.lower().rstrip("?").split())
        found = [(len(words & set(text.lower().rstrip(".").split())), source, text)
                 for source, text in DOCUMENTS.items()]
        return tuple(Passage(id=source, text=text, source=source, start=0, end=len(text),
                             score=shared / 10)
                     for shared, source, text in sorted(found, reverse=True))


class Words:
    """An embedder that knows texts by their words alone."""

    def encode(self, texts: Sequence[str]) -> Any:
        import numpy as np

        vectors = np.array([vector_of(text) for text in texts], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Collection:
    """A store that holds DOCUMENTS, a sentence a passage."""

    fingerprint = property(lambda self: Searcher.fingerprint)
    manifest = SimpleNamespace(embedder="minilm", precision="auto")

    def __init__(self, documents: dict[str, str] = DOCUMENTS) -> None:
        self._passages = [Passage(id=source, text=text, source=source, start=0, end=len(text))
                          for source, text in documents.items()]

    def passages(self) -> Iterator[Passage]:
        yield from reversed(self._passages)

    def matching(self, test: Any) -> dict[str, Passage]:
        return {p.id: p for p in self._passages if test(p)}

    def fetch(self, ids: Sequence[str]) -> dict[str, tuple[Passage, Any]]:
        return {p.id: (p, Words().encode([p.text])[0]) for p in self._passages if p.id in ids}
