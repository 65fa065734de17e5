"""The questionnaire's course: back, skip, stop and go on, and only what is still open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from phi3kit.advise.draft import read_draft, save_draft
from phi3kit.advise.interview import Ask, Interrupted, Move, interview
from phi3kit.advise.scenario import FIELDS, Field


class Asked:
    """Answers from a script, and a record of what was asked."""

    def __init__(self, *script: Any) -> None:
        self.script: Iterator[Any] = iter(script)
        self.seen: list[tuple[str, int, int, Any]] = []

    def __call__(self, field: Field, number: int, total: int, now: Any) -> Any:
        self.seen.append((field.name, number, total, now))
        given = next(self.script, Move.REST)
        if given is KeyboardInterrupt:
            raise KeyboardInterrupt
        return given


def test_back_skip_and_rest() -> None:
    ask = Asked("qa", "some", Move.BACK, "none", Move.SKIP)
    answers = interview(ask)
    assert answers == {"task": "qa", "external_facts": "none", "facts_in_request": None}
    assert [name for name, *_ in ask.seen] == [
        "task", "external_facts", "facts_in_request", "external_facts", "facts_in_request",
        "facts_change"]
    assert ask.seen[3] == ("external_facts", 2, 18, "some")  # what was answered is offered


def test_back_at_the_first_question_stays_there() -> None:
    ask: Asked = Asked(Move.BACK, "qa")
    checked: Ask = ask
    assert interview(checked) == {"task": "qa"}


def test_stopping_keeps_the_answers(tmp_path) -> None:
    with pytest.raises(Interrupted) as stop:
        interview(Asked("qa", Move.SKIP, KeyboardInterrupt))
    draft = tmp_path / "draft.yaml"
    save_draft(stop.value.answers, draft)
    ask = Asked()
    assert interview(ask, read_draft(draft)) == {"task": "qa", "external_facts": None}
    assert ask.seen[0][0] == "facts_in_request"  # a skipped question is not asked again


def test_what_is_known_is_not_counted() -> None:
    rest = [field for field in FIELDS if field.name not in ("task", "vocabulary")]
    ask = Asked()
    interview(ask, {}, rest)
    assert ask.seen == [("external_facts", 1, 16, None)]


def test_what_a_draft_leaves_open_is_asked() -> None:
    """It was begun when the vocabulary was measured, and goes on without the documents."""
    begun = {field.name: None for field in FIELDS if field.name != "vocabulary"}
    ask = Asked("high")
    assert interview(ask, begun)["vocabulary"] == "high"
    assert [name for name, *_ in ask.seen] == ["vocabulary"]
