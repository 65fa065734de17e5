"""Intervals keep what they promise where some documents have many more questions than others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from phi3kit.compare.intervals import Method, interval

RUNS = 1000
# Drawn 1,000 times, a rate of 95% is below this once in a thousand.
LEAST = 0.928


def scores(sizes: Sequence[int], shared: float, rng: np.random.Generator) -> (
        list[tuple[str, float]]):
    """Differences of mean zero; `shared` of their variance is the document's own, 0 to 1."""
    return [(str(document), float(np.sqrt(shared) * luck + np.sqrt(1 - shared) * each))
            for document, size in enumerate(sizes)
            for luck in [rng.normal()] for each in rng.normal(size=size)]


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.5, 1.0])
@pytest.mark.parametrize("sizes", [
    [32, 16, 8, 8, 4, 4, 2, 2, 1, 1, 1, 1], [8, 8, 8, *[1] * 9], [1, 2, 3, 4, 5] * 2,
    [29, *[1] * 29]], ids=["ever smaller", "three large", "about alike", "one has half"])
def test_the_interval_holds_the_truth_as_often_as_it_says(
        sizes: Sequence[int], shared: float) -> None:
    rng, method = np.random.default_rng(1), Method(0.95, 1000, 0)
    found = [interval(scores(sizes, shared, rng), method) for _ in range(RUNS)]
    assert sum(seen.low <= 0 <= seen.high for seen in found) / RUNS >= LEAST
