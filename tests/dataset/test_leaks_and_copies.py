from __future__ import annotations

import pytest

from phi3kit.dataset.check import conflicts, repeats
from phi3kit.dataset.examples import Example
from phi3kit.dataset.heldout import HeldOut
from phi3kit.dataset.leakage import Asked, find_leaks

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
