"""What the oracle and the whole corpus give to read."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from phi3kit.compare.passages import (
    RightPassages,
    SharedPassages,
    WholeCorpus,
    right_passages,
)
from phi3kit.errors import RunError
from phi3kit.records import Message, Question
from phi3kit.settings import AskSettings, IngestSettings, Settings
from three_documents import DOCUMENTS, Collection, Searcher, Words


def ask_of(question: str, *sources: str, answers: tuple[str, ...] = ("x",)) -> Question:
    return Question(id="q", question=question, answers=answers, source_ids=sources)


def oracle(*questions: Question, collection: Any = None) -> RightPassages:
    return RightPassages(collection or Collection(), Words(), questions,  # type: ignore[arg-type]
                         Searcher())


def test_a_question_is_searched_for_once() -> None:
    searcher = Searcher()
    shared = SharedPassages(searcher)  # type: ignore[arg-type]
    first = shared.retrieve(["How heavy?", "How heavy?"], 2, 0.0)
    assert shared.retrieve(["How heavy?"], 2, 0.0) == first[:1]
    assert searcher.asked == ["How heavy?"]


def test_the_oracle_reads_the_right_documents_only() -> None:
    # The words say winch, the source says gate: the source is right.
    found = oracle(ask_of("Which grease does the winch need?", "gate.md")).retrieve(
        ["Which grease does the winch need?", "Who painted it?"], 2, 0.9)
    assert [p.source for p in found[0]] == ["docs/gate.md"]
    assert found[1] == Searcher().retrieve(["Who painted it?"], 2, 0.9)[0]


def test_of_a_long_document_the_passage_with_the_answer_comes_first() -> None:
    held = Collection({"a.md": "How heavy is the load of the crane?", "b.md": "It is 12 tonnes.",
                       "c.md": "How heavy is it?"})
    for passage in held._passages:
        object.__setattr__(passage, "source", "load.md")
        object.__setattr__(passage, "start", {"a.md": 0, "b.md": 100, "c.md": 200}[passage.id])
        object.__setattr__(passage, "end", passage.start + 40)
    found, = oracle(ask_of("How heavy is the load?", "load.md", answers=("12 tonnes",)),
                    collection=held).retrieve(["How heavy is the load?"], 2, 0.0)
    assert [p.id for p in found] == ["b.md", "a.md"]


def test_a_source_that_is_not_in_the_collection_is_named() -> None:
    with pytest.raises(RunError, match=r"question 'q' \(lock\.md\) are not in the collection"):
        oracle(ask_of("Who?", "lock.md")).retrieve(["Who?"], 2, 0.0)


@pytest.mark.parametrize(("wanted", "opened"), [
    (IngestSettings().embedder, ("docs/e5", "int8")),  # left at its default
    ("models/e5", ("models/e5", "int8")),  # where the user has it now
])
def test_the_oracle_embeds_as_the_collection_was(
        wanted: str, opened: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import phi3kit.ingest.embed
    import phi3kit.ingest.store

    held, found = Collection(), []
    held.manifest = SimpleNamespace(embedder="docs/e5", precision="int8")

    def open_embedder(name: str, *, precision: str, **_: Any) -> Words:
        found.append((name, precision))
        return Words()

    monkeypatch.setattr(phi3kit.ingest.store, "open_store", lambda *_: held)
    monkeypatch.setattr(phi3kit.ingest.embed, "open_embedder", open_embedder)
    right_passages(Settings(ingest=IngestSettings(embedder=wanted)), [], Searcher())
    assert found == [opened]


class Counting:
    """Counts words as tokens."""

    context = 50

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(m["content"].split()) for m in messages)


def test_the_whole_corpus_is_in_the_order_of_the_documents_or_refused_with_the_numbers() -> None:
    corpus = WholeCorpus(Collection())  # type: ignore[arg-type]
    found, = corpus.retrieve(["?"], 1, 0.9)
    assert [p.source for p in found] == sorted(DOCUMENTS)
    generator = Counting()
    ask = AskSettings(max_new_tokens=6, instruction="Answer.")
    with pytest.raises(RunError, match=r"are (\d+) tokens, .* context of 50 leaves 44 beside 6"):
        corpus.refuse_if_too_long(["Who?", "Who painted the crane?"], generator,  # type: ignore[arg-type]
                                  ask)
    generator.context = 100
    corpus.refuse_if_too_long(["Who?"], generator, ask)  # type: ignore[arg-type]


def test_what_follows_in_a_document_is_joined() -> None:
    held = Collection({"a.md": "One.", "b.md": "Two."})
    for at, passage in enumerate(held._passages):
        object.__setattr__(passage, "source", "all.md")
        object.__setattr__(passage, "start", 5 * at)
        object.__setattr__(passage, "end", 5 * at + 4)
    assert [p.text for p in WholeCorpus(held).passages] == ["One.\nTwo."]  # type: ignore[arg-type]
