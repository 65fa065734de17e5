"""The statistics on scores whose truth is known: errors as rare as they say, and no rarer."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = list(sys.path)
    loader = importlib.machinery.SourceFileLoader(
        "bench_statistics", str(ROOT / "scripts/bench/statistics"))
    spec = importlib.util.spec_from_loader("bench_statistics", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    try:
        loader.exec_module(module)
    finally:
        sys.path[:] = path
    return module


def test_equal_arms_are_seldom_told_apart(bench: ModuleType) -> None:
    """At 5% of 100 runs, more than 12 would come up in 1 of 1,000."""
    found = bench.same_arms("token F1", 20, 10, 100, resamples=1000)
    assert found["false positives"] <= 0.12
    assert found["coverage of the difference"] >= 0.87
    assert found["coverage of a mean"] >= 0.87


def test_a_lucky_seed_is_no_better_arm(bench: ModuleType) -> None:
    """Without the seeds' part, far more than 1 in 20 equal arms are told apart."""
    few = bench.same_arms_with_seeds("token F1", 20, 10, 150, resamples=1000)
    assert few["false positives"] <= 0.08
    assert few["coverage of the difference"] >= 0.92
    more = bench.same_arms_with_seeds("token F1", 100, 30, 150, resamples=1000)
    assert more["false positives"] <= 0.11
    assert more["coverage of a mean"] >= 0.89
    assert more[bench.WITHOUT] >= 0.15


@pytest.mark.parametrize("number", range(7))
def test_a_known_outcome_is_found_or_left_open(bench: ModuleType, number: int) -> None:
    found = bench.verdicts(bench.CASES[number], seeds=5, resamples=1000)
    assert found["wrong"] == 0.0


def test_what_can_be_told_is_told(bench: ModuleType) -> None:
    """A verdict that is always open would never be wrong either."""
    by_name = {case.name: case for case in bench.CASES}
    assert bench.verdicts(by_name["tuning harms reading"], seeds=5, resamples=1000)["right"] >= 0.8


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("questions", "documents"), [(20, 10), (100, 30)])
@pytest.mark.parametrize("kind", ["token F1", "yes/no"])
def test_errors_are_as_rare_as_they_should_be(bench: ModuleType, kind: str, questions: int,
                                              documents: int) -> None:
    found = bench.same_arms(kind, questions, documents, bench.RUNS)
    for what, share in found.items():
        low, high = bench.aim(kind, questions, what)
        assert low <= share <= high, (what, share)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("questions", "documents"), [(20, 10), (100, 30)])
@pytest.mark.parametrize("kind", ["token F1", "yes/no"])
def test_errors_with_seeds_are_no_more_often_than_said(bench: ModuleType, kind: str,
                                                       questions: int, documents: int) -> None:
    found = bench.same_arms_with_seeds(kind, questions, documents, 2000)
    for what, (low, high) in bench.SEED_AIMS.items():
        assert low <= found[what] <= high, (what, found[what])
    assert found[bench.WITHOUT] > 1.25 * 0.05


@pytest.mark.slow
@pytest.mark.parametrize("number", range(7))
def test_a_wrong_winner_is_rare(bench: ModuleType, number: int) -> None:
    found = bench.verdicts(bench.CASES[number], seeds=20)
    assert found["wrong"] <= bench.WRONG
    assert found["right"] + found["open"] >= 1 - bench.WRONG
