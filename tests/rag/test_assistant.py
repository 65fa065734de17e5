"""Answers: one path for one question and for many, abstention, room in the context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from phi3kit.errors import DataError
from phi3kit.models.generate import Generation
from phi3kit.rag.assistant import Assistant
from phi3kit.rag.prompt import ABSTENTION
from phi3kit.records import Passage
from phi3kit.settings import AskSettings

SEAL = Passage("a", "The K-310 seal is made of Viton.", "seals.md", 0, 32, score=0.8)
GATE = Passage("b", "The gate is twelve metres wide.", "gates.md", 0, 31, score=0.6)


class Model:
    """A generator that writes one text, counts words as tokens and keeps its prompts."""

    def __init__(self, text: str, context: int = 1000) -> None:
        self.text = text
        self.context = context
        self.prompts: list[str] = []
        self.closed = False

    def count_tokens(self, messages) -> int:
        return sum(len(m["content"].split()) for m in messages)

    def generate(self, prompts, *, max_new_tokens, batch_tokens, on_batch=None):
        self.prompts += [p[-1]["content"] for p in prompts]
        results = [Generation(self.text, self.count_tokens(p), 5, 0.25) for p in prompts]
        for i in reversed(range(len(prompts))):  # batches need not come in order
            on_batch([i], [results[i]])
        return results

    def stream(self, messages, *, max_new_tokens) -> Iterator[str]:
        self.prompts.append(messages[-1]["content"])
        try:
            yield from self.text
        finally:
            self.closed = True


class Found:
    """A retriever with its results given by question."""

    def __init__(self, **passages: tuple[Passage, ...]) -> None:
        self.passages = passages
        self.asked: list[tuple[int, float]] = []

    def retrieve(self, questions, k, min_similarity):
        self.asked.append((k, min_similarity))
        return [self.passages.get(q, ()) for q in questions]


def answer_all(assistant: Assistant, *questions: str):
    return assistant.answer_all(questions, batch_tokens=100)


def test_a_streamed_answer_is_the_batched_answer():
    model = Model("It is Viton [1], [9]. The gate is twelve metres wide.")
    assistant = Assistant(model, Found(q=(SEAL, GATE)), AskSettings())
    (batched,) = answer_all(assistant, "q")
    pieces = list(assistant.stream("q"))
    streamed = assistant.last
    assert "".join(pieces) == streamed.text == batched.text
    assert batched.text == "It is Viton [1]. The gate is twelve metres wide [2]."
    assert streamed.citations == batched.citations
    assert [(c.number, c.by) for c in batched.citations] == [(1, "model"), (2, "match")]
    assert streamed.removed_citations == batched.removed_citations == (9,)
    assert model.prompts[0] == model.prompts[1]
    assert batched.tokens_in == streamed.tokens_in == len(
        model.prompts[0].split()) + len(AskSettings().instruction.split())
    assert (batched.tokens_out, streamed.tokens_out) == (5, 11)
    assert batched.seconds >= 0.25 and streamed.seconds > 0


def test_settings_reach_the_retriever_and_the_prompt():
    found, model = Found(q=(SEAL,)), Model("x")
    answer_all(Assistant(model, found, AskSettings(passages=7, min_similarity=0.5)), "q")
    assert found.asked == [(7, 0.5)]
    assert SEAL.text in model.prompts[0]


def test_nothing_retrieved_is_an_abstention_without_the_model():
    model = Model("Ulaanbaatar")
    assistant = Assistant(model, Found(), AskSettings())
    (answer,) = answer_all(assistant, "capital?")
    assert list(assistant.stream("capital?")) == [ABSTENTION]
    for found in (answer, assistant.last):
        assert (found.text, found.abstained, found.passages, found.tokens_out) == (
            ABSTENTION, True, (), 0)
    assert model.prompts == []


def test_closed_book_asks_the_model_and_finds_no_citation():
    model = Model("Viton [1].")
    (answer,) = answer_all(Assistant(model, None, AskSettings()), "q")
    assert (answer.text, answer.citations, answer.removed_citations) == ("Viton [1].", (), ())
    assert model.prompts == ["q"]


def test_an_abstention_of_the_model_is_seen_and_cites_nothing():
    (answer,) = answer_all(
        Assistant(Model("I don't know."), Found(q=(SEAL,)), AskSettings()), "q")
    assert (answer.abstained, answer.citations) == (True, ())


@pytest.mark.parametrize(("written", "kept"), [
    ("It is Viton [1].", True), ("It is Viton.", True), ("I do not know.", True),
    ('{"seal": "Teflon"}', True), ("[]", True), ("", True), ("[9]", True), ("Yes.", True),
    ("12 metres.", True), ("```\nThe K-310 seal\n```", True), ("13 metres.", False),
    ("It is Teflon.", False), ("It is Teflon [9].", False),
    ("It is Teflon. The gate is twelve metres wide.", True)])
def test_what_no_passage_holds_is_withheld_where_that_is_wanted(written: str, kept: bool) -> None:
    as_it_is, held = (Assistant(Model(written), Found(q=(SEAL, GATE)),
                                AskSettings(unsupported=way)) for way in ("show", "abstain"))
    (shown,), (answer,) = answer_all(as_it_is, "q"), answer_all(held, "q")
    assert "".join(held.stream("q")) == answer.text == held.last.text
    assert shown.withheld == ""
    assert (replace(answer, seconds=0.0) == replace(shown, seconds=0.0)) is kept
    if not kept:
        assert (answer.text, answer.abstained, answer.citations) == (ABSTENTION, True, ())
        assert answer.withheld == held.last.withheld == shown.text != ""
        assert answer.tokens_out == shown.tokens_out and not answer.unsupported


def test_a_stream_waits_until_it_cites(capsys: pytest.CaptureFixture[str]) -> None:
    assistant = Assistant(Model("It is Viton [1]. So it lasts."), Found(q=(SEAL,)),
                          AskSettings(unsupported="abstain"))
    pieces = list(assistant.stream("q"))
    assert pieces[0].startswith("It is Viton [1]") and len(pieces) > 5
    assert "ask.unsupported" in capsys.readouterr().err


def test_closed_book_nothing_is_withheld() -> None:
    assistant = Assistant(Model("Teflon."), None, AskSettings(unsupported="abstain"))
    assert answer_all(assistant, "q")[0].text == "Teflon."
    assert "".join(assistant.stream("q")) == "Teflon."


def test_order_and_callback_when_some_are_not_asked():
    seen: dict[int, str] = {}

    def keep(indices, answers):
        for i, answer in zip(indices, answers, strict=True):
            assert i not in seen
            seen[i] = answer.question

    assistant = Assistant(Model("Viton"), Found(a=(SEAL,), c=(GATE,)), AskSettings())
    questions = ["a", "nothing", "c", "  "]
    answers = assistant.answer_all(questions, batch_tokens=100, on_answers=keep)
    assert [a.question for a in answers] == questions
    assert seen == dict(enumerate(questions))
    assert [a.abstained for a in answers] == [False, True, False, False]
    assert answers[3].error and not answers[0].error


def test_passages_that_do_not_fit_are_left_out_from_the_end():
    model = Model("x", context=70)
    assistant = Assistant(model, Found(q=(SEAL, GATE)), AskSettings(max_new_tokens=20))
    (answer,) = answer_all(assistant, "q")
    assert answer.passages == (SEAL,)
    assert GATE.text not in model.prompts[0]


def test_a_question_longer_than_the_context_is_an_error_of_its_own():
    model = Model("x", context=150)
    long = "why " * 200
    assistant = Assistant(model, None, AskSettings(max_new_tokens=20))
    bad, good = answer_all(assistant, long, "q")
    assert "(--max-new-tokens). Ask a shorter question" in bad.error
    assert "200" not in bad.text and bad.error and good.text == "x"
    with pytest.raises(DataError, match="tokens"):
        list(assistant.stream(long))
    with pytest.raises(DataError, match="empty"):
        list(assistant.stream(" "))


def test_an_answer_that_fills_the_context_names_the_flag():
    assistant = Assistant(Model("x", context=150), None, AskSettings(max_new_tokens=150))
    with pytest.raises(DataError, match=r"room for 0 beside an answer of 150 \(--max-new-tokens"
                                        r"\)\. Set --max-new-tokens to \d+ or less"):
        list(assistant.stream("q"))


def test_closing_the_stream_stops_the_model():
    model = Model("a b c d e f")
    pieces = Assistant(model, None, AskSettings()).stream("q")
    next(pieces)
    pieces.close()
    assert model.closed


HISTORY = [{"role": "user", "content": "first question"},
           {"role": "assistant", "content": "first answer"},
           {"role": "user", "content": "second question"},
           {"role": "assistant", "content": "second answer"}]


class Whole(Model):
    """A model that keeps whole prompts."""

    def stream(self, messages, *, max_new_tokens):
        self.messages = list(messages)
        yield from self.text


def test_earlier_turns_go_along_and_help_to_search():
    found, model = Found(**{"second question\nand then?": (SEAL,)}), Whole("Viton.")
    assistant = Assistant(model, found, AskSettings())
    list(assistant.stream("and then?", HISTORY))
    assert [m["content"] for m in model.messages[1:5]] == [m["content"] for m in HISTORY]
    assert SEAL.text in model.messages[-1]["content"]
    assert "and then?" in model.messages[-1]["content"]


def test_the_oldest_turns_go_first_when_there_is_no_room():
    found, model = Found(**{"second question\nq": (SEAL, GATE)}), Whole("Viton.")
    assistant = Assistant(model, found, AskSettings(max_new_tokens=1))
    list(assistant.stream("q", HISTORY))
    whole = model.count_tokens(model.messages)
    model.context = whole + 1 - 1
    list(assistant.stream("q", HISTORY))
    assert [m["content"] for m in model.messages[1:-1]] == ["second question", "second answer"]
    model.context = whole + 1 - 8
    list(assistant.stream("q", HISTORY))
    assert len(model.messages) == 2 and GATE.text in model.messages[-1]["content"]


def test_passages_that_joined_are_too_long_give_way_to_fewer():
    """Neighbours are one passage, which no room may be found for where each has some."""
    class Neighbours:
        def retrieve(self, questions, k, min_similarity):
            return [(Passage("a", "word " * 40 * k, "a.md", 0, 200 * k, score=0.8),)] * len(
                questions)

    model = Model("Viton", context=200)
    (answer,) = answer_all(Assistant(model, Neighbours(), AskSettings(passages=5)), "q")
    assert (answer.error, answer.passages[0].end) == ("", 400)
    (answer,) = answer_all(Assistant(Model("x", context=80), Neighbours(), AskSettings()), "q")
    assert "the question needs" in answer.error
