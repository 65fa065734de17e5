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


@pytest.mark.parametrize(("answer", "text"), [
    ("It holds 12,500 litres [1].", "It holds 12 500 litres."),
    ("It holds 12500 litres [1].", "It holds 12 500 litres."),
    *((f"It holds {said} litres [1].", f"It holds 12{apart}500 litres.")
      for apart in "\u00a0\u2009\u202f\u2019'" for said in ("12,500", "12500", "12 500")),
    ("It holds 12 500 litres [1].", "It holds 12500 litres."),
    ("It holds 12'500.50 litres [1].", "It holds 12,500.5 litres."),
    ("It holds 12 500l [1].", "It holds 12.500 l."),
    ("1 200 300 are made [1].", "1200300 are made."),
    ("They hold 200 and 300 [1].", "1 200 300 400"),
    ("The sizes are 100 200 300 [1].", "Sizes: 100, 200 and 300 mm."),
    ("Size M8 costs 14, and 500 are there [1].", "M8 14 500"),
    ("The K-310 500 times [1].", "The K-310 takes it 500 times."),
    ("Store it at -20 °C [1].", "Store it at \u221220 °C."),
    ("Store it at minus 20 °C [1].", "Store it at -20 °C."),
    ("Store it at \u221220 °C [1].", "Store it at \u201320 °C."),
    ("20 °C below zero [1].", "(-20 °C)"),
    ("5-10 days, 5 -10 days [1]\n- 5 bolts", "5 to 10 days"),
    ("On 2026-03-05 [1].", "On 2026-03-05."),
    ("Based on the passages, I'd say every 14 days [1].", "The seal is checked every 14 days."),
    ("Yes, I'm sure, and I’ve seen it: 14 days [1].", "Every 14 days."),
    ("Steps [1]:\n1) Open the valve\n2) Drain it", "The valve is opened, then drained."),
    ("First 1) Open the valve", "1 valve is opened."),
    ("**Interval:** Every 14 days [1].", "Checked each 14 days."),
    ("Yes — Every 14 days [1].", "Checked each 14 days."),
    ("It is so; Open it [1].", "The lid is opened."),
    ('It is closed (see above.) Operators must wait [1].', "It is closed, see above."),
    ('It is marked "closed." Operators must wait [1].', "It is marked closed."),
    ("| Seal | Every 14 days |\n|---|---|\n|Pump|Weekly|", "14"),
    ("The pump was installed on 5 March 2026 [1].", "Pump installed on 2026-03-05."),
    ("The pump was installed on 5 March 2026 [1].", "Pump installed on 05.03.2026."),
    ("The pump was installed on March 5, 2026 [1].", "Pump installed on 03/05/2026."),
    ("Installed on 5 March [1].", "Installed on 2026-03-05."),
    ("Installed in March 2026 [1].", "Installed on 2026-03-05."),
    ("Installed on 2026-03-05 [1].", "Installed on the 5th of March 2026."),
    ("Installed on 05.03.2026 [1].", "Installed on Mar 5, 2026."),
])
def test_what_the_passage_says_in_another_form_is_not_flagged(answer: str, text: str) -> None:
    assert told(answer, text=text) == []


@pytest.mark.parametrize(("answer", "text", "claims"), [
    ("It holds 500 litres [1].", "It holds 12 500 litres.", ["number 500"]),
    ("It holds 12 litres [1].", "It holds 12\u00a0500 litres.", ["number 12"]),
    ("It holds 12 500 litres [1].", "It holds 12 tanks of 400 litres.", ["number 12 500"]),
    ("Sizes are 100 200 350 [1].", "Sizes: 100, 200 and 300.", ["number 100 200 350"]),
    ("Store it at -20 °C [1].", "Store it at 20 °C.", ["number -20"]),
    ("-20", "Store it at 20 °C, 10-20 days.", ["number -20"]),
    ("Store it (\u221220 °C) [1].", "Store it at 20 °C.", ["number \u221220"]),
    ("Store it at minus 20 °C [1].", "Store it at 20 °C.", ["number 20"]),
    ("On 6 March 2026 [1].", "On 2026-03-05.", ["number 6"]),
    ("On 3 May 2026 [1].", "On 2026-03-05.", ["name May"]),
    ("On 5 March 2027 [1].", "On 05.03.2026.", ["number 5", "name March", "number 2027"]),
    ("Yes, says Imke [1]. I'd ask Imke — Or Noor Zed", "Noor says yes.",
     ["name Imke", "name Zed"]),
])
def test_another_number_sign_or_date_is_flagged(
        answer: str, text: str, claims: list[str]) -> None:
    assert told(answer, text=text) == claims


@pytest.mark.parametrize(("answer", "question", "claims"), [
    ("Limpet [1].", "Who checks the seal?", ["name Limpet"]),
    ("Tarn wax", "Which grease does it take?", ["name Tarn"]),
    ("Bellwether", "What is the seal called?", ["name Bellwether"]),
    ("Noor", "Who checks the seal?", []), ("Ask Noor [1].", "Who checks the seal?", []),
    ("Nobody [1].", "Who checks the seal?", []), ("Neither.", "Which of both?", []),
    ("Nine", "Which one is it?", []),
    ("Weekly [1].", "How often is it checked?", []),  # it may say so in other words
    ("Somewhere else it is, they say.", "Who checks the seal?", []),
])
def test_an_answer_that_is_a_name_alone_is_one(
        answer: str, question: str, claims: list[str]) -> None:
    assert told(answer, question) == claims


@pytest.mark.parametrize(("answer", "claims"), [
    ("I do not know the weight, but the seal is checked every 12 days [1].", ["number 12"]),
    ("I do not know. It is checked every 12 days.", ["number 12"]),
    ("I do not know the weight, but the seal is checked every 14 days [1].", []),
])
def test_a_claim_behind_an_abstention_is_checked(answer: str, claims: list[str]) -> None:
    assert told(answer, text="The seal is checked every 14 days.") == claims


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
