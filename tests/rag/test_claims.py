"""Quotes, numbers and names of an answer, against the passages that it cites."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3kit.rag.claims import unsupported
from phi3kit.records import Passage

TEXT = ("The K-310 seal is checked by Noor Haverstock every fourteen days. It weighs 1,200.50 g, "
        "costs 58 crowns and is kept in the “north store”. See bulletin TB-31 of 12.03.2025. "
        "The parser's max_depth is 12; NATO rules apply to the Stop-Key Guard.")


def passage(text: str = TEXT) -> Passage:
    return Passage(id="1", text=text, source="a.md", start=0, end=len(text), page=None,
                   heading="Seals", sha256="", score=0.5, sources=("a.md",))


def told(answer: str, question: str = "What of the seal?", text: str = TEXT) -> list[str]:
    return [f"{c.kind} {c.text}" for c in unsupported(answer, {1: passage(text)}, question)]


@pytest.mark.parametrize("answer", [
    "Noor Haverstock [1].", "It is checked by Noor Haverstock every 14 days [1].",
    "1200.5 g", "1.200,50 g", "58.00 crowns", "It is kept in the \"North  Store\".",
    "TB-31, of 12.03.2025", "The limit is `max_depth`, 12.", "NATO's rules apply.",
    "Seals are checked.", "1. The seal weighs 1,200.50 g.\n2. It costs 58 crowns.",
    "I do not know.", "I do not know whether Zeppelin Works makes 999 of them.", "",
    "The stop-key guard", "the Guard", "Every two weeks it is looked after.",
    "a 14-day period", "58crowns", "12–14 times"])
def test_what_the_passage_says_is_not_flagged(answer: str) -> None:
    assert told(answer) == []


@pytest.mark.parametrize(("answer", "claims"), [
    ("Noor Haverstone [1].", ["name Haverstone"]),
    ("Every 15 days [1].", ["number 15"]),
    ("It weighs 1,200.51 g.", ["number 1,200.51"]),
    ("On 13.03.2025.", ["number 13.03.2025"]),
    ("See TB-32.", ["name TB-32"]),
    ("The K-311 seal", ["name K-311"]),
    ("It says “kept in the south store”.", ["quote kept in the south store"]),
    ("Set `min_depth`.", ["quote min_depth", "name min_depth"]),
    ("ISO rules apply.", ["name ISO"]),
    ("It is made in Hamburg, Hamburg.", ["name Hamburg"]),
    ("58 crowns times 2 is 116 crowns.", ["number 2", "number 116"]),
    ("Ask Imke Sandvoort.", ["name Imke", "name Sandvoort"]),
    ("The TB-31-5 part", ["name TB-31-5"]),
    ("Within 10-15 days", ["number 10", "number 15"]),
    ("A 15-day period at 24V", ["number 15", "number 24"]),
])
def test_what_it_does_not_say_is_flagged(answer: str, claims: list[str]) -> None:
    assert told(answer) == claims


def test_the_question_s_own_words_are_no_claims() -> None:
    assert told("The Q-7 has no seal in Hamburg.", "Has the Q-7 a seal in Hamburg?") == []


@pytest.mark.parametrize(("answer", "claims"), [
    ("Yes, every 15 days [1].", ["number 15"]), ("Yes, every 15 days. [1]", ["number 15"]),
    ("Yes, every 15 days.", []),  # no passage is cited for it
    ("At 9 bar it is checked every 14 days [1].", []),  # no passage counts in bar
    ("In 9 of the cases [1].", [])])
def test_a_number_of_the_question_does_not_excuse_one_that_the_passage_has_otherwise(
        answer: str, claims: list[str]) -> None:
    assert told(answer, "Is it checked every 15 days at 9 bar?") == claims


def test_a_sentence_is_held_against_what_it_cites() -> None:
    both = {1: passage("The seal lasts 400 hours."), 2: passage("Noor Haverstock runs pump K7.")}

    def claims(answer: str) -> list[str]:
        return [c.text for c in unsupported(answer, both, "")]

    assert claims("It lasts 400 hours [1]. Noor Haverstock runs it [2].") == []
    assert claims("It lasts 400 hours [2]. It is run by Noor Haverstock. [1]") == [
        "400", "Noor", "Haverstock"]
    assert claims("It lasts 400 hours and K7 has it [1, 2]. So says Noor.") == []


def test_the_place_in_the_answer_is_told() -> None:
    answer = "Every 15 days [1], says Imke."
    for claim in unsupported(answer, {1: passage()}, ""):
        assert answer[claim.start:claim.end] == claim.text


def test_parts_of_a_number_are_not_the_number() -> None:
    assert told("31", text="TB-3 and 1 and 310") == ["number 31"]


@given(st.text(max_size=80), st.text(max_size=80))
def test_an_answer_is_supported_by_itself(before: str, after: str) -> None:
    answer = f"{before} Noor K-310 {after}"
    assert unsupported(answer, {1: passage(answer)}, "") == ()


@given(st.text(max_size=200))
def test_any_text_can_be_judged(answer: str) -> None:
    for claim in unsupported(answer, {1: passage()}, ""):
        assert answer[claim.start:claim.end] == claim.text
