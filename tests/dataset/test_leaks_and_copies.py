from __future__ import annotations

import pytest

from phi3kit.dataset.check import conflicts, repeats
from phi3kit.dataset.examples import Example
from phi3kit.dataset.heldout import HeldOut, normalise
from phi3kit.dataset.leakage import Asked, find_leaks
from phi3kit.dataset.normal import normal

LONG = ("which of the two keepers at the north gate of the old harbour checks the seal of the "
        "lock every seven days?")


def example(question: str, answer: str = "a", line: int = 1) -> Example:
    return Example(({"role": "user", "content": question},
                    {"role": "assistant", "content": answer}), line)


@pytest.mark.parametrize(("text", "how"), [
    ("WHO checks the seal of lock 4, and when", ["exact"]),
    ("Who checks the seal of the lock 4, and when?", ["near"]),
    ("Who checks the seal of lock 5, and when?", []),  # another number, another question
    ("Who paints the boat?", []),
])
def test_a_question_given_away(text: str, how: list[str]) -> None:
    held = [HeldOut("q1", "Who checks the seal of lock 4, and when?", "q.jsonl:1")]
    assert [leak.how for leak in find_leaks([example(text)], held)] == how


def test_thirteen_words_in_a_row_in_an_answer_too() -> None:
    held = [HeldOut("q1", LONG, "q.jsonl:1")]
    words = LONG.split()
    shared = [example("Say something.", "They asked: " + " ".join(words[:count]), count)
              for count in (12, 13)]
    assert [(leak.line, leak.how) for leak in find_leaks(shared, held)] == [(13, "13-gram")]
    assert find_leaks(shared, held, near=False) == find_leaks(shared, held)


def test_what_was_asked_is_known_in_nearly_the_same_words() -> None:
    asked = Asked(["How much does crane 7 lift at most?"])
    assert asked.knows("how much does the crane 7 lift, at most")
    assert not asked.knows("How much does crane 8 lift at most?")


def test_copies_and_conflicts_are_told_by_line() -> None:
    examples = [example("How high is the wall of the lock?", "9 metres", 3),
                example("How high  is the wall of the lock?", "9 metres", 5),
                example("how high is the wall of the lock", "12 metres", 8)]
    assert [(r.line, r.of, r.near) for r in repeats(examples)] == [(5, 3, False)]
    assert (8, 5) in [(c.line, c.other) for c in conflicts(examples)] or (
        8, 3) in [(c.line, c.other) for c in conflicts(examples)]


@pytest.mark.parametrize(("one", "other", "same"), [
    ("What is C++?", "What is C#?", False), ("7 + 2", "7 - 2", False), ("7+2", "7 + 2 =", False),
    ("-5 degrees", "5 degrees", False), ("(-5)", "\u22125", True), ("मिल", "मेल", False),
    ("5%", "5 %", True), ("7+2", "7 + 2?", True), ("**Who** is it?", "### Who *is* it", True),
    ("pages 5-7", "pages 5 7", True), ("☀\ufe0f Who?", "who", True), ("a – b", "a b", True),
    ("2**3", "2 3", False), ("x=-1", "x = 1", False), ("Who?\n=====", "who", True)])
def test_a_symbol_or_a_mark_makes_another_question(one: str, other: str, same: bool) -> None:
    assert (normalise(one) == normalise(other)) is same
    assert (normal(one) == normal(other)) is same
    held = [HeldOut("q1", one, "q.jsonl:1")]
    assert [leak.how for leak in find_leaks([example(other)], held)] == ["exact"] * same


def test_long_questions_that_differ_in_a_symbol_are_not_nearly_the_same() -> None:
    asked = "Which book about {} would you give to someone who has never seen a computer before?"
    assert not Asked([asked.format("C++")]).knows(asked.format("C#"))
    assert Asked([asked.format("this and/or that")]).knows(asked.format("this and or that"))
