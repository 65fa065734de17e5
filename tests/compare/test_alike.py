"""Answers that are all alike: a handful of them is no proof, and gates do not take it for one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from scipy import stats

from finished_comparison import finished
from phi3kit import runs
from phi3kit.compare.gate import judge_gates, read_gate
from phi3kit.compare.intervals import Method, exact, interval
from phi3kit.compare.results import ROWS, analyse, load_comparison, row_of, save, score
from phi3kit.compare.rows import RowFile
from phi3kit.compare.seeds import Part
from phi3kit.compare.sets import macro_f1
from phi3kit.records import Answer, Interval, Question, Row
from phi3kit.report.comparison_text import spread
from phi3kit.report.markdown import comparison_markdown
from phi3kit.settings import CompareSettings

METHOD = Method(confidence=0.95, resamples=1000, seed=0)
ARMS = ("base", "rag")


@pytest.mark.parametrize(("right", "number"), [(0, 3), (3, 3), (4, 9)])
def test_the_exact_interval_is_that_of_clopper_and_pearson(right: int, number: int) -> None:
    found = exact(right / number, number, 0.95)
    wanted = stats.binomtest(right, number).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_shares_that_are_all_alike_have_the_exact_interval() -> None:
    three = interval([(name, 1.0) for name in "abc"], METHOD)
    assert (three.mean, three.high) == (1.0, 1.0)
    assert three.low == pytest.approx(0.025 ** (1 / 3))
    # Ten questions about three documents are worth 100 / 66 of one size.
    uneven = interval([("a", 1.0)] * 8 + [("b", 1.0), ("c", 1.0)], METHOD)
    assert uneven.low == pytest.approx(0.025 ** (66 / 100))
    half = interval([(name, 0.5) for name in "abcd"], METHOD)
    assert half.low < 0.5 < half.high


def test_other_intervals_are_as_they_were() -> None:
    """Differences, seeds that vary, and documents that are alike but not their answers."""
    same = [(name, 1.0) for name in "abc"]
    assert interval(same, METHOD, bounds=(-1.0, 1.0)) == Interval(1.0, 1.0, 1.0)
    half = [(name, 0.5) for name in "abc"]
    assert interval(half, METHOD, seeds=[Part(1e-4, 2.0)]).high == pytest.approx(
        0.5 + 0.01 * stats.t.isf(0.025, 2))
    each = [(name, value) for name in "abc" for value in (0.0, 1.0)]
    assert interval(each, METHOD) == Interval(0.5, 0.5, 0.5)


def labels(documents: int) -> list[Row]:
    asked = [Question(id=str(i), question="?", answers=("yes" if i % 2 else "no",),
                      source_ids=(f"d{i}",)) for i in range(documents)]
    return list(score([row_of("rag", q, Answer("?", q.answers[0], False, (), (), (), 1, 1, 0.1))
                       for q in asked], asked))


def test_labels_that_are_all_right_are_no_proof_either() -> None:
    found = macro_f1(labels(6), confidence=0.95, resamples=1000, seed=0)
    assert found is not None
    assert (found.mean, found.low) == (1.0, pytest.approx(0.025 ** (1 / 6)))


@pytest.mark.parametrize(("documents", "outcome"), [(3, "undecided"), (40, "passed")])
def test_a_gate_takes_enough_answers_that_are_all_right(
        tmp_path: Path, documents: int, outcome: str) -> None:
    same = finished(tmp_path, {"base": [1.0] * documents, "rag": [1.0] * documents})
    gate, = judge_gates(same, [read_gate("rag score >= 0.9", ARMS)], METHOD)
    assert gate.outcome == outcome


@pytest.mark.parametrize(("documents", "outcome"), [(5, "undecided"), (6, "passed")])
def test_a_gate_on_differences_that_are_alike_takes_as_many_documents_as_a_verdict(
        tmp_path: Path, documents: int, outcome: str) -> None:
    same = finished(tmp_path, {"base": [0.5] * documents, "rag": [0.5] * documents})
    gate, = judge_gates(same, [read_gate("rag score >= base - 0.01", ARMS)], METHOD)
    assert gate.outcome == outcome
    assert gate.value == Interval(0.0, 0.0, 0.0)
    assert ("on 5 documents, and alike on fewer than 6 says nothing" in gate.sentence) == (
        outcome == "undecided")


def wordy(documents: int) -> tuple[Row, ...]:
    """Answers of four words where one is right."""
    asked = [Question(id=str(i), question="?", answers=("four",),
                      source_ids=(f"d{i % documents}",)) for i in range(16)]
    return score([row_of(arm, q, Answer("?", "four and some more", False, (), (), (), 1, 1, 0.1))
                  for arm in ARMS for q in asked], asked)


def test_what_holds_whatever_the_answers_are_passes(tmp_path: Path) -> None:
    same = finished(tmp_path, {"base": [0.5], "rag": [0.5]})
    assert [judge_gates(same, [read_gate(text, ARMS)], METHOD)[0].outcome for text in (
        "rag score <= base + 2", "rag score >= base + 2", "rag score >= 0.4")] == [
        "passed", "failed", "undecided"]


@pytest.mark.parametrize(("documents", "high", "said"), [
    (1, math.inf, "(95% interval 0.000 to ∞)"), (8, 4.0, "(95% interval 4.000 to 4.000)")])
def test_a_ratio_of_lengths_may_be_above_one(
        tmp_path: Path, documents: int, high: float, said: str) -> None:
    gate, = analyse(wordy(documents), ARMS, CompareSettings(
        gate=("rag length_ratio <= 3",), resamples=1000), run=tmp_path, conditions={}).gates
    assert gate.value.high == high
    assert gate.outcome == ("undecided" if documents == 1 else "failed")
    assert said in gate.sentence


def test_an_end_that_is_not_there_is_kept_and_shown(tmp_path: Path) -> None:
    run = runs.open_run(tmp_path, "compare", {}, settings={})
    RowFile(run.path / ROWS).append(wordy(1))
    made = analyse(wordy(1), ARMS, CompareSettings(
        gate=("rag length_ratio <= base + 1",), resamples=1000), run=run.path, conditions={})
    save(made)
    run.finish({"seconds": 1.0})
    text = (run.path / "result.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    found = load_comparison(run.path)
    assert (found.arms, found.gates) == (made.arms, made.gates)
    assert found.gates[0].value == Interval(0.0, -math.inf, math.inf)
    assert "4.00 (0.00 to ∞)" in comparison_markdown(found)
    assert spread(found.gates[0].value) == "0.00 (−∞ to ∞)"
    assert "inf" not in found.gates[0].sentence
