"""What finished comparisons say of each other."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from finished_comparison import finished
from phi3kit.compare.differing import differing
from phi3kit.compare.side_by_side import SHIFTS, load_side_by_side, side_by_side
from phi3kit.errors import RunError
from phi3kit.records import Comparison, Interval, Row, SideBySide, TrainingSeeds

BASE = [0.1, 0.3, 0.2, 0.1, 0.0, 0.2, 0.3, 0.1]
RAG = [0.5, 0.7, 0.6, 0.4, 0.5, 0.6, 0.7, 0.5]


@pytest.fixture
def first(tmp_path: Path) -> Comparison:
    return finished(tmp_path / "a", {"base": BASE, "rag": RAG})


def against(first: Comparison, *others: Comparison) -> SideBySide:
    return side_by_side([first, *others], [{}] * (1 + len(others)))


def changed(comparison: Comparison, **by_question: dict[str, Any]) -> Comparison:
    """With other fields in the rows of these questions."""
    return dataclasses.replace(comparison, rows=tuple(
        dataclasses.replace(row, **by_question.get(row.question_id, {}))
        for row in comparison.rows))


def test_each_arm_is_paired_with_itself(first: Comparison, tmp_path: Path) -> None:
    other = finished(tmp_path / "b", {"base": BASE, "rag": [worth + 0.1 for worth in RAG]})
    base, rag = against(first, other).differences
    assert (base.arm, base.run, base.p) == ("base", "B", 1.0)
    assert base.difference == Interval(0.0, 0.0, 0.0)
    assert (base.gained, base.lost, base.same) == (0, 0, 8)
    assert rag.difference.mean == pytest.approx(0.1)
    assert (rag.difference.low, rag.difference.high) == pytest.approx((0.1, 0.1))
    # Two of the 2^8 ways to flip eight documents are as extreme; Holm doubles the smaller of two.
    assert rag.p == pytest.approx(2 * 2 / 2 ** 8)
    assert (rag.gained, rag.lost, rag.same) == (8, 0, 0)


def test_the_questions_that_changed_most_come_with_both_answers(first: Comparison) -> None:
    def worth(value: float) -> dict[str, float]:
        return {"score": value, "token_f1": value}

    other = changed(first,
                    q1={"metrics": worth(1.0), "output": "now right"},
                    q2={"metrics": worth(0.9)},
                    q4={"metrics": worth(0.0), "error": "timeout", "output": ""})
    rag = next(item for item in against(first, other).differences if item.arm == "rag")
    assert [shift.question_id for shift in rag.most_gained] == ["q1", "q2"]  # +0.3 each, in order
    most, lost = rag.most_gained[0], rag.most_lost[0]
    assert (most.before, most.after, most.answer_before, most.answer_after) == (
        0.7, 1.0, "yes", "now right")
    assert (lost.question_id, lost.answer_after) == ("q4", "failed: timeout")
    assert (rag.gained, rag.lost, rag.same) == (2, 1, 5)


def test_no_more_are_named_than_asked_for(tmp_path: Path) -> None:
    size = SHIFTS + 3
    first = finished(tmp_path / "a", {"base": [0.2] * size, "rag": [0.1] * size})
    other = finished(tmp_path / "b", {"base": [0.2] * size,
                                      "rag": [0.2 + 0.01 * i for i in range(size)]})
    rag = against(first, other).differences[1]
    assert rag.gained == size
    assert [shift.question_id for shift in rag.most_gained] == [
        f"q{i}" for i in range(size - 1, 2, -1)]


@pytest.mark.parametrize("field", [
    {"question": "Quite another question?"}, {"gold": ("no",)}, {"kind": "label"}])
def test_only_the_same_question_is_paired(first: Comparison, field: dict[str, Any]) -> None:
    record = against(first, changed(first, q3=field))
    overlap = record.overlaps[0]
    assert (overlap.shared, overlap.changed, overlap.only_first, overlap.only_here) == (7, 1, 0, 0)
    assert all(item.same == 7 for item in record.differences)


def test_questions_of_one_run_alone_are_counted(first: Comparison, tmp_path: Path) -> None:
    more = finished(tmp_path / "b", {"base": [*BASE, 0.5], "rag": [*RAG, 0.5]})
    fewer = dataclasses.replace(more, rows=tuple(
        row for row in more.rows if row.question_id not in ("q0", "q1")))
    overlap = against(first, fewer).overlaps[0]
    assert (overlap.shared, overlap.only_first, overlap.only_here) == (6, 2, 1)


def test_runs_without_a_common_question_have_no_difference(first: Comparison) -> None:
    strange = dataclasses.replace(first, rows=tuple(
        dataclasses.replace(row, question_id=f"other {row.question_id}") for row in first.rows))
    record = against(first, strange)
    assert record.differences == ()
    assert record.overlaps[0].shared == 0
    assert [len(arm.means) for arm in record.arms] == [2, 2]


def test_arms_of_one_run_alone_stand_in_the_table(first: Comparison, tmp_path: Path) -> None:
    other = finished(tmp_path / "b", {"base": BASE, "both": RAG})
    record = against(first, other)
    means = {arm.arm: arm.means for arm in record.arms}
    assert list(means) == ["base", "rag", "both"]
    assert means["rag"] == (first.arms[1].metrics["score"], None)
    assert means["both"] == (None, other.arms[1].metrics["score"])
    assert [item.arm for item in record.differences] == ["base"]


def test_each_other_run_is_held_against_the_first(first: Comparison, tmp_path: Path) -> None:
    second = finished(tmp_path / "b", {"base": BASE, "rag": [w + 0.1 for w in RAG]})
    third = finished(tmp_path / "c", {"base": BASE, "rag": [w - 0.1 for w in RAG]})
    record = against(first, second, third)
    assert [run.label for run in record.runs] == ["A", "B", "C"]
    assert {(item.run, item.arm): round(item.difference.mean, 6)
            for item in record.differences} == {
        ("B", "base"): 0.0, ("B", "rag"): 0.1, ("C", "base"): 0.0, ("C", "rag"): -0.1}
    assert record.differences[1].p == pytest.approx(4 * 2 / 2 ** 8)  # Holm over all four


def test_a_metric_that_all_have_is_found_and_said(first: Comparison, tmp_path: Path) -> None:
    other = finished(tmp_path / "b", {"base": BASE, "rag": RAG}, compare={"metric": "token_f1"})
    record = against(first, other)
    assert record.metric == "score"
    assert "A by score, B by token f1" in record.notes[0]
    only_f1 = dataclasses.replace(other, rows=tuple(_without("score", row) for row in other.rows))
    assert against(first, only_f1).metric == "token_f1"
    neither = dataclasses.replace(first, rows=tuple(
        _without("token_f1", row) for row in first.rows))
    with pytest.raises(RunError, match="no metric"):
        against(neither, only_f1)


def _without(metric: str, row: Row) -> Row:
    return dataclasses.replace(row, metrics={
        name: value for name, value in row.metrics.items() if name != metric})


def test_all_intervals_have_the_level_of_the_first(first: Comparison, tmp_path: Path) -> None:
    other = finished(tmp_path / "b", {"base": BASE, "rag": RAG}, compare={"confidence": 0.5})
    record = against(first, other)
    assert record.arms[1].means[0] == record.arms[1].means[1]
    assert record.arms[1].means[1] != other.arms[1].metrics["score"]
    assert "A at 95%, B at 50%" in record.notes[0]


def test_whether_training_seeds_are_in_it_is_told(first: Comparison) -> None:
    seeded = dataclasses.replace(first, seeds=(
        TrainingSeeds("rag", ("a", "b"), {"score": (0.5, 0.6)}),))
    counted = [{item.arm: item.seeds for item in side_by_side([one, other], [{}, {}]).differences}
               for one, other in ((first, seeded), (seeded, seeded))]
    assert counted == [{"base": False, "rag": False}, {"base": False, "rag": True}]


def test_what_differs_is_named_and_nothing_else(first: Comparison) -> None:
    other = dataclasses.replace(first, conditions={**first.conditions, "passages": 5})
    found = differing([first, other], [
        {"settings": {"ask.rerank": {"value": None, "source": "default"},
                      "ask.passages": {"value": 3, "source": "default"}},
         "versions": {"torch": "2.9"}, "machine": {"cores": 2}},
        {"settings": {"values": {"ask": {"rerank": "null", "passages": 3}}},
         "versions": {"torch": "2.9", "peft": "0.21"}, "machine": {"cores": 2}}])
    assert [(item.group, item.name, item.values) for item in found] == [
        ("condition", "passages", (None, "5")),
        ("setting", "ask.rerank", ("null", "null")),
        ("version", "peft", (None, "0.21"))]


def test_folders_are_checked(first: Comparison, tmp_path: Path) -> None:
    run = Path(first.run)
    with pytest.raises(RunError, match="given twice"):
        load_side_by_side([run, run.parent / "." / run.name])
    with pytest.raises(RunError, match="not a run folder"):
        load_side_by_side([run, tmp_path])
    with pytest.raises(RunError, match="cannot be set side by side"):
        load_side_by_side([run])
