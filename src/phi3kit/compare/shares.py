"""Means between 0 and 1, such as a share of questions, that may have no spread at all."""

from __future__ import annotations

from collections.abc import Sequence

from phi3kit.compare.statistics import Method, interval
from phi3kit.records import Interval


def share(values: Sequence[tuple[str, float]], method: Method) -> Interval:
    """A mean with its interval; where all are 0 or all are 1, the exact one (Clopper & Pearson).

    Drawing again from questions that are all alike would give an interval without width. For
    values in between, whose mean such questions bound too, the exact one is on the safe side.

    Args:
        values: (cluster, 0 to 1) for each question.
        method: level, resamples and seed.
    """
    from scipy import stats

    found = interval(values, method)
    if 0 < found.mean < 1:
        return found
    clusters = len({cluster for cluster, _ in values})
    exact = stats.binomtest(round(found.mean) * clusters, clusters).proportion_ci(
        method.confidence, method="exact")
    return Interval(found.mean, float(exact.low), float(exact.high))
