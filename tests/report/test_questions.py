"""What is marked in the passages, and how heavy a page becomes."""

from __future__ import annotations

import dataclasses
import re
import time

import pytest

from phi3kit.records import Comparison
from phi3kit.report.html import render_comparison
from phi3kit.report.matches import Piece, pieces
from phi3kit.report.questions import question_groups

PASSAGE = "The pump of hall 4 runs at 4.5 bar,\nand never above 14.5 bar in summer."


def marked(cut: list[Piece], kind: str) -> list[str]:
    return [piece.text for piece in cut if piece.kind == kind]


@pytest.mark.parametrize(("gold", "found"), [
    (("4.5 bar",), ["4.5 bar"]),  # not within 14.5 bar
    (("4.5 BAR, and never",), ["4.5 bar,\nand never"]),
    (("4.5 bar", "bar"), ["4.5 bar", "bar"]),
    (("bars",), []), ((".",), []), (("", "  "), []), ((), []),
    (("hall (4",), []), (("pump of", "of hall"), ["pump of hall"]),
])
def test_the_right_answer_is_marked_where_it_stands(gold: tuple[str, ...],
                                                    found: list[str]) -> None:
    cut = pieces(PASSAGE, gold, ())
    assert marked(cut, "gold") == found
    assert "".join(piece.text for piece in cut) == PASSAGE


@pytest.mark.parametrize(("output", "found"), [
    ("It is hall 4 Runs at last [1]", ["hall 4 runs at"]),
    ("never in summer", []), ("", []),
    ("“and never above 14.5 bar”, it says", ["and never above 14.5 bar"]),
])
def test_what_an_answer_repeats_is_marked(output: str, found: list[str]) -> None:
    cut = pieces(PASSAGE, (), [output, output])
    assert marked(cut, "quoted") == found
    assert "".join(piece.text for piece in cut) == PASSAGE


def test_the_right_answer_goes_before_what_is_repeated() -> None:
    cut = pieces(PASSAGE, ("4.5 bar",), ["runs at 4.5 bar"])
    assert (marked(cut, "quoted"), marked(cut, "gold")) == (["runs at "], ["4.5 bar"])


def test_a_long_passage_is_cut_around_the_match() -> None:
    cut = pieces("word " * 400 + "ANSWER" + " word" * 400, ("answer",), (), room=300)
    text = "".join(piece.text for piece in cut)
    assert marked(cut, "gold") == ["ANSWER"]
    assert text.startswith("[…] ") and text.endswith(" […]") and len(text) < 320
    assert "".join(p.text for p in pieces("word " * 400, (), (), room=300)).startswith("word word")


def test_a_passage_shown_to_two_arms_stands_once(comparison: Comparison) -> None:
    for group in question_groups(comparison):
        for item in group["questions"]:
            kept = [(passage["source"], len(passage["pieces"])) for passage in item["passages"]]
            shown = {pair for row in item["rows"]
                     for pair in zip(row.sources, row.passages, strict=True)}
            assert len(kept) == len(shown)
    page = render_comparison(comparison)
    assert '<mark class="gold">4.5 bar</mark>' in page


def heavy(comparison: Comparison, questions: int, sentences: int) -> Comparison:
    """Four arms; for each that retrieves four long passages of its own to every question."""
    base = {row.arm: row for row in comparison.rows if row.question_id == "fact-1"}
    rows = []
    for number in range(questions):
        for arm, row in base.items():
            texts = tuple(f"{number} {place} " + "It runs at 4.5 bar & more <so>. " * 40
                          for place in range(4)) if row.passages else ()
            rows.append(dataclasses.replace(
                row, question_id=f"q{number}", passages=texts,
                output="It runs at 4.5 bar. " * sentences,
                sources=tuple(f"docs/{place}.md" for place in range(len(texts))), gold=("4.5 bar",),
                arm=arm))
    return dataclasses.replace(comparison, rows=tuple(rows))


@pytest.mark.parametrize("sentences", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_a_thousand_questions_stay_under_ten_megabytes(comparison: Comparison,
                                                       sentences: int) -> None:
    made = heavy(comparison, 1000, sentences)
    assert sum(len(text) for row in made.rows for text in row.passages) > 10_000_000
    began = time.perf_counter()
    page = render_comparison(made)
    assert time.perf_counter() - began < 60
    assert len(page.encode("utf-8")) < 10_000_000
    assert len(re.findall(r'<details class="question"', page)) == 1000
    assert page.count('<mark class="gold">4.5 bar</mark>') > 4000  # where they are cut too
