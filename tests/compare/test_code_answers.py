"""Answers that a program reads, from the model's text to the score: they stay whole."""

from __future__ import annotations

from typing import get_args

import pytest

from phi3kit.compare.results import row_of, score
from phi3kit.models.generate import Generation
from phi3kit.rag.assistant import Assistant
from phi3kit.records import Arm, Passage, Question, Row
from phi3kit.settings import AskSettings

JSON = '{"codes": [1, 7], "n": 3}'
PASSAGES = tuple(Passage(name, "The codes are in the list.", f"{name}.md", 0, 26, score=0.8)
                 for name in ("a", "b"))


class Says:
    """A generator that writes one text, and a retriever that finds two passages."""

    context = 1000

    def __init__(self, text: str) -> None:
        self.text = text

    def count_tokens(self, messages) -> int:
        return 1

    def generate(self, prompts, *, max_new_tokens, batch_tokens, on_batch=None):
        on_batch(range(len(prompts)), [Generation(self.text, 1, 1, 0.1) for _ in prompts])

    def retrieve(self, questions, k, min_similarity):
        return [PASSAGES for _ in questions]


def scored(text: str, gold: str, arm: Arm) -> Row:
    """The row of an answer to a question whose answer has a form that is tested."""
    assert arm in get_args(Arm)
    asked = Question(id="q", question="?", answers=(gold,), source_ids=("a.md",), format="it")
    says = Says(text)
    assistant = Assistant(says, says if arm == "rag" else None, AskSettings())
    (answer,) = assistant.answer_all(["?"], batch_tokens=100)
    (row,) = score([row_of(arm, asked, answer)], [asked], {"it": lambda form: form == gold})
    return row


@pytest.mark.parametrize("arm", ["base", "rag"])
@pytest.mark.parametrize("text", [
    JSON, f"```json\n{JSON}\n```", "[1, 2, 3]", "x = rows[0]", "grid[0][7]", "rows[1]"])
def test_a_right_answer_is_kept_and_worth_all(text: str, arm: Arm) -> None:
    row = scored(text, text, arm)
    assert (row.output, row.removed_citations) == (text, ())
    right = ("score", "exact_match", "contains", "span_f1", "format_valid")
    assert {name: row.metrics[name] for name in right} == dict.fromkeys(right, 1)
    assert row.metrics.get("fabricated_citations", 0) == 0


@pytest.mark.parametrize(("text", "gold"), [
    ('{"codes": [1, 7]}', '{"codes": []}'), ("rows[1]", "rows[0]"), ("[1, 2]", "[1, 3]"),
    ("Codes: [1, 2]", "Codes: [1, 3]")])
def test_a_wrong_one_is_not_made_right(text: str, gold: str) -> None:
    assert scored(text, gold, "base").metrics["exact_match"] == 0


def test_a_citation_beside_code_and_one_without_a_blank_before_it_do_not_count() -> None:
    assert scored("x = rows[0] [2]", "x = rows[0]", "rag").metrics["exact_match"] == 1
    assert scored("Viton[1].", "Viton", "base").metrics["exact_match"] == 1
    assert scored("There are some [2].", "2", "rag").metrics["contains"] == 0
