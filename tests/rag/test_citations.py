"""Citations: checked as a whole and in pieces, attached only where a passage holds it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3kit.rag.citations import Checker, check
from phi3kit.records import Passage

PASSAGES = (
    Passage("a", "The winch of the north gate takes marine grease No. 4 every 30 days.",
            "winch.md", 0, 68, score=0.8),
    Passage("b", "The north gate is 12.5 metres wide. Its seal is of type K-200.",
            "gate.md", 0, 62, score=0.7),
    Passage("c", "The gate keeper is Ilse Brandt.", "people.md", 0, 31, score=0.6),
)


@pytest.mark.parametrize(("written", "shown", "removed"), [
    ("It is K-200 [2].", "It is K-200 [2].", ()),
    ("It is K-200 [7].", "It is K-200 [2].", (7,)),
    ("[9] Ilse Brandt [0]", "Ilse Brandt [3]", (9, 0)),
    ("Nonsense entirely [1,9].", "Nonsense entirely [1].", (9,)),
    ("Nonsense [ 3 ; 1 , 1 ] here", "Nonsense [3, 1] here", ()),
    ("Bananas are blue [12].", "Bananas are blue.", (12,)),
    ("The [seal] is [K-200] [2]", "The [seal] is [K-200] [2]", ()),
    ("It is `rows[7]` [2].", "It is `rows[7]` [2].", ()),
    ("A ` is a tick [9].\nBananas `x[9]` [1].", "A ` is a tick.\nBananas `x[9]` [1].", (9,)),
    ("Nonsense `x [9]\nBananas [8]` [1]", "Nonsense `x\nBananas` [1]", (9, 8)),
    ("``a`[9]`` ```b[9]``` c``[8]", "``a`[9]`` ```b[9]``` c``", (8,)),
    ("So:\n```py\nx[9] = '`'\n```\nBananas [9]", "So:\n```py\nx[9] = '`'\n```\nBananas", (9,)),
    (f"` {'x' * 300}[9]`", f"` {'x' * 300} `", (9,)),
    ("x = rows[0] [2]", "x = rows[0] [2]", ()),
    ("Nonsense grid[0][8] [9]", "Nonsense grid[0][8]", (9,)),
    ("Bananas[9] Viton[1].", "Bananas Viton[1].", (9,)),
    ('{"codes": [1, 7], "text": "a [9]"}', '{"codes": [1, 7], "text": "a [9]"}', ()),
    ('[{"seal": "K-200"}, 9, [7, 8]]\n', '[{"seal": "K-200"}, 9, [7, 8]]', ()),
    ("```json\n[1, 7]\n```", "```json\n[1, 7]\n```", ()),
    ('{"a": [1, 7]} says it [9].', '{"a": [1]} says it.', (7, 9)),
    ("`a`[9]`b`, `c` [9].", "`a` `b`, `c`.", (9, 9)),
    ("Nonsense [1-3].", "Nonsense [1, 2, 3].", ()),
    ("Nonsense [1\u20132], [2 - 4; 1]", "Nonsense [1, 2], [2, 3, 1]", (4,)),
    ("Nonsense [3-999999999999]", "Nonsense [3]", (999999999999,)),
    ("[-1] and [1-] and [-]", "[-1] and [1-] and [-]", ()),
    ("Ilse Brandt. [3] Bananas", "Ilse Brandt. [3] Bananas", ()),
    ("Viton [2], [9]. Bananas, [8] blue,", "Viton [2]. Bananas blue,", (9, 8)),
    ("[ , ] yes", "[ , ] yes", ()),
    ("an open [1", "an open [1", ()),
    ("Nonsense [Passage 9].", "Nonsense.", (9,)),
    ("Nonsense [passages 1, 2].", "Nonsense [1, 2].", ()),
    ("Nonsense [Source 3], [Document 2] [DOC 1 and Source 8]", "Nonsense [3], [2] [1]", (8,)),
    ("Nonsense【9】【2】.", "Nonsense[2].", (9,)),
    ("Nonsense [^9] [^1, ^2].", "Nonsense [1, 2].", (9,)),
    ("Nonsense [1†source] 【1†L3-L5】 【7†L1】", "Nonsense [1] [1]", (7,)),
    ("Nonsense [1 and 2] [1 & 2, and 3].", "Nonsense [1, 2] [1, 2, 3].", ()),
    ("See [3 documents], [Passage], [the source 2], [and 1], [1】 and [B and 1]",
     "See [3 documents], [Passage], [the source 2], [and 1], [1】 and [B and 1]", ()),
    ("`[Passage 9]` is code [Sources 2-3]", "`[Passage 9]` is code [2, 3]", ()),
])
def test_only_citations_of_shown_passages_remain(written, shown, removed):
    checked = check(written, PASSAGES)
    assert (checked.text, checked.removed) == (shown, removed)


@pytest.mark.parametrize(("written", "shown"), [
    ("Marine grease No. 4.", "Marine grease No. 4 [1]."),
    ("It is 12.5 metres wide. The keeper is Ilse Brandt.",
     "It is 12.5 metres wide [2]. The keeper is Ilse Brandt [3]."),
    ("12.5 m", "12.5 m"),                       # half of its telling words
    ("Every 31 days", "Every 31 days"),         # a number that stands nowhere
    ("Bananas are blue.", "Bananas are blue."),
    ("I do not know.", "I do not know."),
    ("Yes.", "Yes."),
    ("1. K-200\n2. Ilse Brandt", "1. K-200\n2. Ilse Brandt"),  # 1 and 2 stand nowhere
    ("K-200\nIlse Brandt", "K-200 [2]\nIlse Brandt [3]"),
])
def test_a_sentence_is_given_the_passage_that_holds_it_or_none(written, shown):
    checked = check(written, PASSAGES)
    assert checked.text == shown
    assert {c.by for c in checked.citations} <= {"match"}
    assert re.sub(r" \[\d\]", "", checked.text) == written


def test_the_words_of_the_question_are_no_evidence():
    question = "Which seal does the north gate have?"
    wrong = "The seal of the north gate is Viton."
    assert check(wrong, PASSAGES, question=question).citations == ()
    right = check("The seal of the north gate is K-200.", PASSAGES, question=question)
    assert [(c.number, c.by) for c in right.citations] == [(2, "match")]


def test_a_tie_goes_to_the_better_score():
    twice = (Passage("a", "Ilse Brandt", "a.md", 0, 11, score=0.2),
             Passage("b", "Ilse Brandt", "b.md", 0, 11, score=0.9))
    assert [c.number for c in check("Ilse Brandt.", twice).citations] == [2]


def test_closed_book_keeps_no_citation():
    checked = check("Grease [1] and oil [2].", ())
    assert (checked.text, checked.removed) == ("Grease and oil.", (1, 2))


def test_a_citation_by_the_model_is_not_reported_as_ours():
    checked = check("K-200 [2]. It is 12.5 metres wide.", PASSAGES)
    assert checked.text == "K-200 [2]. It is 12.5 metres wide [2]."
    assert [(c.number, c.by) for c in checked.citations] == [(2, "model")]


def test_in_closed_book_no_bracket_is_a_citation():
    for text in ("Grease [1] and oil [2].", "x = [1, 2, 3]", "x = rows[0]", ", [1]\n\n`[2],"):
        checked = check(f" {text}\n", None)
        assert (checked.text, checked.citations, checked.removed) == (text, (), ())
        checker = Checker(None)
        assert "".join(map(checker.feed, f" {text}\n")) + checker.close() == text


ANSWERS = st.lists(st.sampled_from([
    "[", "]", "[1]", "[7]", "[1,9]", "[1-3]", "[2 \u2013 8]", "``", "\n```",
    "```py\n", ", ", ",", "[0] ", " [2", ", 3]", ". ", ".", "\n", " ", "`",
    "No. 4", "K-200", "Ilse Brandt", "Bananas", "12.5", "!", "\"", "e.g. so", "1. ",
    "I do not know", "ß", "\t", "[Passage 9]", "[sources 1", " and ", "[^", "【", "】", "【2】",
    "†L3-L5", "[1†source]", "[Doc", "uments 2", " & 3]", "PASSAGES ",
    "{", "}", "[[", "\"a\": ", "\\", "{\"a\": [1, 9]}", "x[0]", "[0][7]",
]) | st.text(max_size=4), max_size=25).map("".join)


@given(text=ANSWERS, data=st.data())
def test_the_cuts_of_a_stream_change_nothing(text, data):
    whole = check(text, PASSAGES)
    checker = Checker(PASSAGES)
    shown, at = "", 0
    while at < len(text):
        step = data.draw(st.integers(1, len(text) - at))
        shown += checker.feed(text[at:at + step])
        at += step
    shown += checker.close()
    assert shown == whole.text
    assert checker.result() == whole


@given(text=ANSWERS)
def test_what_remains_points_at_passages_and_is_listed(text):
    checked = check(text, PASSAGES)
    again = check(checked.text, PASSAGES)
    assert again.removed == ()
    assert all(1 <= c.number <= 3 for c in checked.citations)
    assert checked.text == checked.text.strip()


def test_a_wrong_citation_never_reaches_the_screen():
    checker = Checker(PASSAGES)
    seen = ""
    for char in "Grease [77] and oil [8, 9].":
        seen += checker.feed(char)
        assert "7" not in seen and "[" not in seen
    assert seen + checker.close() == "Grease and oil."


def test_a_bracket_that_never_closes_does_not_hold_the_answer_back():
    checker = Checker(PASSAGES)
    assert checker.feed("see [" + "1" * 80).startswith("see [111")


@pytest.mark.parametrize("written", ["Bananas [Passages 7 and 8†L7-L8]", "Bananas 【7†L8】",
                                     "Bananas [^7, ^8]", "Bananas [ref 7 & document 8]"])
def test_none_of_another_form_does_either(written):
    checker = Checker(PASSAGES)
    shown = "".join(checker.feed(char) for char in written)
    assert shown + checker.close() == "Bananas" and checker.result().removed[0] == 7


def test_a_bracket_of_words_is_shown_as_soon_as_it_cites_nothing():
    checker = Checker(PASSAGES)
    assert checker.feed("see [the") == "see [the"
    assert Checker(PASSAGES).feed("see [passages of") == "see [passages of"


def test_what_begins_as_json_is_held_back_until_it_is_none():
    checker = Checker(PASSAGES)
    assert checker.feed('{"a": [1,') == checker.feed(' 9]}\n') == ""
    assert checker.feed("is it") == '{"a": [1]}\nis it'
    assert Checker(PASSAGES).feed("[2] Viton is").startswith("[2] Viton")
    assert Checker(PASSAGES).feed("[The seal").startswith("[The")
    assert Checker(PASSAGES).feed("{seal} is").startswith("{seal}")


def test_a_backtick_that_never_closes_does_not_hold_the_answer_back():
    checker = Checker(PASSAGES)
    assert checker.feed("see ` and more\nof it").startswith("see ` and more")
    checker = Checker(PASSAGES)
    assert checker.feed("see `" + "x" * 250).startswith("see `x")
    assert Checker(PASSAGES).feed("see\n```\nx = 1").endswith("```\nx = 1")


def test_words_without_blanks_between_them_and_spelt_otherwise_are_found() -> None:
    passages = (Passage("a", "密封圈每14天检查一次,由水闸管理员负责。", "a.md", 0, 20),
                Passage("b", "Das gru\u0308ne Tor ist 12 Meter breit.", "b.md", 0, 38))

    def cited(written: str) -> list[int]:
        return [c.number for c in check(written, passages).citations]

    assert cited("每14天检查一次") == [1]
    assert cited("每15天检查一次") == []
    assert cited("Das grüne Tor") == [2]
