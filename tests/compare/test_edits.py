"""Facts are edited where that leaves a sound document, and left alone elsewhere."""

from __future__ import annotations

import re

import pytest

from phi3kit.compare.edits import Edits, choose
from phi3kit.records import Question


def question(number: int, text: str, *answers: str, kind: str = "fact",
             sources: tuple[str, ...] = ("a.md",)) -> Question:
    return Question(f"q{number}", text, answers, sources, answerable=bool(answers), kind=kind)


def edited(text: str, *answers: str, asked: str = "What is it?", seed: int = 0) -> Edits:
    return choose([question(1, asked, *answers)], {"docs/a.md": text}, frozenset(), facts=1,
                  seed=seed)


@pytest.mark.parametrize(("text", "answer", "form"), [
    ("It lifts 12 tonnes at 8 metres.", "12 tonnes", r"It lifts [1-9]\d tonnes at 8 metres\."),
    ("It costs 1,240.50 in all.", "1,240.50", r"It costs [1-9],[1-9]\d\d\.[1-9]\d in all\."),
    ("Drawing OS-4410 shows it.", "OS-4410", r"Drawing OS-\d{4} shows it\."),
    ("Opened on 3 May 1962.", "3 May 1962", r"Opened on 3 May 19[56]\d\."),
    ("Opened on 1962-05-03.", "1962-05-03", r"Opened on 19[56]\d-05-03\."),
    ("It leaves at 07:30 daily.", "07:30", r"It leaves at [12]\d:[0-5]\d daily\."),
    ("Checked every seven days.", "every seven days", r"Checked every [a-z]+ days\."),
])
@pytest.mark.parametrize("seed", range(5))
def test_a_number_becomes_another_of_its_form(text: str, answer: str, form: str,
                                              seed: int) -> None:
    found = edited(text, answer, seed=seed)
    after = found.texts["docs/a.md"]
    assert re.fullmatch(form, after)
    assert answer not in after
    assert found.facts[0].new in after


def test_every_occurrence_is_edited_and_other_forms_of_the_answer_follow() -> None:
    found = edited("It lifts 95 newton metres. Again: 95 newton metres. Part 95-A.",
                   "95 newton metres", "95 Nm")
    fact, number = found.facts[0], found.facts[0].new.split()[0]
    assert found.texts["docs/a.md"] == (
        f"It lifts {number} newton metres. Again: {number} newton metres. Part 95-A.")
    assert fact.answers == (f"{number} newton metres", f"{number} Nm")
    assert fact.outdated == ("95 newton metres", "95 Nm")


def test_a_name_becomes_another_one_that_is_asked_for_alike() -> None:
    asked = [question(1, "Who leads it?", "Noor Haverstock"),
             question(2, "Who dives?", "Mirren Tolliver", sources=("b.md",)),
             question(3, "Which boat works it?", "Small Mercy", sources=("b.md",))]
    found = choose(asked, {"a.md": "Noor Haverstock leads it.", "b.md": "-"}, frozenset(),
                   facts=3, seed=0)
    assert found.texts == {"a.md": "Mirren Tolliver leads it."}


@pytest.mark.parametrize(("text", "answers"), [
    ("The lever is red.", ("red",)),                            # no kind to stay within
    ("Noor Haverstock leads. Haverstock is old.", ("Noor Haverstock",)),
    ("It takes 10-12 days.", ("10-12 days",)),                  # the ends may turn around
    ("It bears 12 tonnes, that is 12 t.", ("12 tonnes", "12 t")),
    ("It bears 112 tonnes.", ("12 tonnes",)),
    ("It bears some.", ("12 tonnes",)),
])
def test_what_would_not_be_sound_is_left_out(text: str, answers: tuple[str, ...]) -> None:
    others = [question(2, "Who dives?", "Mirren Tolliver", sources=("b.md",))]
    asked = [question(1, "Who is it?", *answers), *others]
    assert choose(asked, {"a.md": text}, frozenset(), facts=2, seed=0) == Edits((), {})


def test_an_answer_that_another_of_its_documents_has_is_left_out() -> None:
    asked = [question(1, "How much?", "12 tonnes", sources=("a.md", "b.md"))]
    text = "It bears 12 tonnes."
    assert not choose(asked, {"a.md": text, "b.md": text}, frozenset(), facts=1, seed=0).facts
    assert choose(asked, {"a.md": text, "b.md": "-", "c.md": text}, frozenset(), facts=1,
                  seed=0).facts[0].source == "a.md"


def test_labels_and_unanswerable_questions_are_no_facts() -> None:
    asked = [question(1, "Label this.", "CODE-12", kind="label"), question(2, "How much?")]
    assert not choose(asked, {"a.md": "CODE-12"}, frozenset({"label"}), facts=2, seed=0).facts


def test_one_fact_a_document_as_many_as_wanted_by_seed() -> None:
    asked = [question(n, "How much?", f"{n} tonnes", sources=(f"{n % 6}.md",))
             for n in range(10, 34)]
    texts = {f"{d}.md": " ".join(f"It bears {n} tonnes." for n in range(10, 34) if n % 6 == d)
             for d in range(6)}
    found = choose(asked, texts, frozenset(), facts=4, seed=1)
    assert len(found.facts) == len(found.texts) == 4
    assert choose(asked, texts, frozenset(), facts=4, seed=1) == found
    assert choose(asked, texts, frozenset(), facts=4, seed=2) != found
    assert len(choose(asked, texts, frozenset(), facts=50, seed=1).facts) == 6
