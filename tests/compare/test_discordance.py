"""McNemar's exact test against the binomial one that it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from scipy import stats

from phi3kit.compare.discordance import YES_NO, discordances
from phi3kit.compare.metrics import METRICS
from phi3kit.compare.results import analyse
from phi3kit.records import Row
from phi3kit.settings import CompareSettings


def row(arm: str, number: int, metrics: Mapping[str, float]) -> Row:
    return Row(arm=arm, question_id=f"q{number}", kind="fact", cluster=f"d{number}", question="?",
               gold=("x",), output="x", abstained=False, citations=(), removed_citations=(),
               passages=(), sources=(), tokens_in=1, tokens_out=1, seconds=1.0, metrics=metrics)


def rows_of(right: Mapping[str, str], metric: str = "contains") -> list[Row]:
    """Arms by their right (1) and wrong (0) answers, in the order of the questions."""
    return [row(arm, i, {metric: float(each)})
            for arm, marks in right.items() for i, each in enumerate(marks)]


def test_counts_and_p_are_those_of_the_binomial_test() -> None:
    [found] = discordances(rows_of({"rag": "111111110010", "base": "100000000001"}),
                           ["rag", "base"])
    assert (found.a, found.b, found.metric) == ("rag", "base", "contains")
    assert (found.both, found.only_a, found.only_b, found.neither) == (1, 8, 1, 2)
    assert found.p == pytest.approx(stats.binomtest(1, 9).pvalue)


def test_arms_that_never_differ_are_not_told_apart() -> None:
    [found] = discordances(rows_of({"rag": "1100", "base": "1100"}), ["rag", "base"])
    assert (found.only_a, found.only_b, found.p) == (0, 0, 1.0)


def test_every_pair_of_options_and_no_other_arm() -> None:
    rows = rows_of({"base": "10", "rag": "11", "both": "01", "oracle-rag": "11"})
    pairs = [(d.a, d.b) for d in discordances(rows, ["base", "rag", "both"])]
    assert pairs == [("base", "rag"), ("base", "both"), ("rag", "both")]


def test_only_questions_that_both_were_measured_on() -> None:
    rows = [row("rag", 0, {"label_accuracy": 1.0}), row("rag", 1, {"token_f1": 0.5}),
            row("base", 0, {"label_accuracy": 0.0}), row("base", 1, {"token_f1": 0.5})]
    [found] = discordances(rows, ["rag", "base"])
    assert (found.metric, found.only_a, found.neither) == ("label_accuracy", 1, 0)


def test_the_yes_no_metrics_are_metrics() -> None:
    assert set(YES_NO) <= set(METRICS)


def test_a_comparison_has_them_for_the_options(tmp_path: Path) -> None:
    rows = [row(arm, i, {"score": worth, "exact_match": worth})
            for arm, worth in (("base", 0.0), ("rag", 1.0), ("oracle-rag", 1.0))
            for i in range(8)]
    comparison = analyse(rows, ["base", "rag", "oracle-rag"], CompareSettings(resamples=300),
                         run=tmp_path, conditions={})
    [found] = comparison.discordances
    assert (found.a, found.b, found.only_b) == ("base", "rag", 8)
    assert found.p == pytest.approx(2 / 2 ** 8)
    assert comparison.likely_best == {"base": 0.0, "rag": 1.0}
