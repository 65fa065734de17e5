"""The messages of data/routing keep the rules that data/README.md states."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
sys.path.insert(0, str(ROOT / "scripts"))

from sample_data import checks, extract, tasks  # noqa: E402

OPENING = "Route this message: "


def lines(name: str) -> list[dict[str, Any]]:
    text = (DATA / "routing" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def seen() -> list[tuple[str, str]]:
    """Message and desk of each example."""
    return [(user["content"].removeprefix(OPENING), answer["content"])
            for user, answer in (example["messages"] for example in lines("train.jsonl"))]


@pytest.fixture(scope="module")
def held() -> list[tuple[str, str]]:
    """Message and desk of each question."""
    return [(q["question"].removeprefix(OPENING), q["answers"][0])
            for q in lines("questions.jsonl")]


def test_each_desk_has_twenty_messages_on_either_side(
        seen: list[tuple[str, str]], held: list[tuple[str, str]]) -> None:
    learned, asked = (Counter(desk for _, desk in side) for side in (seen, held))
    assert learned == asked
    assert set(learned.values()) == {20}
    assert len(learned) == 12


def test_lines_have_the_forms_of_the_sample() -> None:
    for example in lines("train.jsonl"):
        assert set(example) == {"messages", "kind"}
        assert example["messages"][0]["content"].startswith(OPENING)
    questions = lines("questions.jsonl")
    assert [q["id"] for q in questions] == [f"route-{n:03}" for n in range(1, 241)]
    for question in questions:
        assert question["question"].startswith(OPENING)
        assert question["answerable"] and not question["source_ids"]
        assert len(question["answers"]) == 1
    assert {line["kind"] for line in lines("train.jsonl") + questions} == {"route"}


def test_messages_have_a_usual_length(
        seen: list[tuple[str, str]], held: list[tuple[str, str]]) -> None:
    odd = [message for message, _ in seen + held if not 8 <= len(message.split()) <= 30]
    assert odd == []


def test_no_held_out_message_is_one_that_was_learned(
        seen: list[tuple[str, str]], held: list[tuple[str, str]]) -> None:
    asked, learned = ([tasks.Task("route", message, (), ()) for message, _ in side]
                      for side in (held, seen))
    assert list(checks.alike(asked, learned, run=5, likeness=0.5)) == []


def test_only_examples_tell_a_desk(
        seen: list[tuple[str, str]], held: list[tuple[str, str]]) -> None:
    texts = [extract.text_of(path.relative_to(DATA / "documents").as_posix(), path.read_bytes())
             for path in (DATA / "documents").rglob("*") if path.is_file()]
    texts += [message for message, _ in seen + held]
    desk = re.compile("|".join(sorted({desk for _, desk in seen})), re.IGNORECASE)
    assert [text for text in texts if desk.search(text)] == []
