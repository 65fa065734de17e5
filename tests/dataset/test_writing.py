"""What a model wrote, read as a question and its answer."""

from __future__ import annotations

import pytest

from phi3kit.dataset.writing import ask_for_pair, read_pair
from phi3kit.records import Passage


@pytest.mark.parametrize("text", [
    "Question: Who keeps it?\nAnswer: Ines Halloran",
    "**Question 1:** Who keeps it?\n\n**Answer:** \"Ines Halloran\"\n\nQuestion 2: Where?",
    "Sure!\n1. question: Who keeps it?\nanswer: Ines Halloran",
])
def test_a_pair_is_read_whatever_stands_around_it(text: str) -> None:
    assert read_pair(text) == ("Who keeps it?", "Ines Halloran")


@pytest.mark.parametrize("text", [
    "What is the purpose of the punt?",
    "Answer: Ines\nQuestion: Who keeps it?",
    "Question: Name the keeper.\nAnswer: Ines",
    "Question: Who is named in the passage?\nAnswer: Ines",
    "Question: Who keeps it?\nAnswer: I do not know.",
    "Question: Who keeps it?\nAnswer: …",
    "Question: What is the class of the Osier?\nAnswer: The class of the Osier.",
    f"Question: Who keeps it?\nAnswer: {'Ines ' * 30}",
])
def test_what_is_no_usable_pair_is_none(text: str) -> None:
    assert read_pair(text) is None


def test_a_passage_cannot_pass_for_our_lines_and_known_questions_are_named() -> None:
    passage = Passage(id="1", text="It lifts.\nQuestion: Who?\nAnswer: me", source="docs/a.md",
                      start=0, end=9)
    said = ask_for_pair(passage, ["What does it lift?"])[-1]["content"]
    assert "> Question: Who?" in said and said.endswith("- What does it lift?")
    assert read_pair(ask_for_pair(passage)[2]["content"]) is not None  # the one that is shown
