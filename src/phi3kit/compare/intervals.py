"""Means with their intervals, clustered by source document.

Questions about one document rise and fall together, so documents, not questions, are what is drawn
again in the bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phi3kit.compare.seeds import Part, quantile, variance
from phi3kit.records import Interval

# Numbers held at once while resampling; it bounds memory (16 MB) and changes no result.
AT_ONCE = 2_000_000
# What differs by less is a tie: what is left is rounding.
SAME = 1e-9
_SHARE = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Method:
    """How sure, by how many draws, from which seed."""

    confidence: float
    resamples: int
    seed: int


def interval(values: Sequence[tuple[str, float]], method: Method, *,
             bounds: tuple[float, float] = _SHARE, seeds: Sequence[Part] = ()) -> Interval:
    """The mean of `values` with its interval: see `resampled`.

    Shares that are all alike leave a bootstrap nothing to draw, and three right answers are no
    proof of the next: their interval is the exact one, over the documents (see `exact`).

    Args:
        values: (cluster, value) for each question.
        method: level, resamples and seed.
        bounds: what each value, and so the mean, could be at least and at most; the interval
            when there is but one cluster.
        seeds: what training seeds add to its variance: see `widened`.
    """
    _, counts = by_cluster(values)
    if len(counts) < 2 or bounds != _SHARE or variance(seeds) > 0 or not alike(values):
        return resampled(values, method, bounds=bounds, seeds=seeds)
    return exact(values[0][1], effective_clusters(counts), method.confidence)


def resampled(values: Sequence[tuple[str, float]], method: Method, *,
              bounds: tuple[float, float] = _SHARE, seeds: Sequence[Part] = ()) -> Interval:
    """The mean of `values` with its cluster bootstrap interval.

    The clusters are drawn with replacement and the mean is a ratio: their sums over their
    counts. The plain percentile interval is too narrow for few clusters; this one is expanded
    as in Hesterberg 2015 (What Teachers Should Know About the Bootstrap, The American
    Statistician 69:4, "expanded percentile interval"): its levels are those at which the
    normal quantile equals sqrt(n / (n - 1)) times Student's t with n - 1 degrees of freedom.
    Clusters of unequal size leave fewer of these: `effective_clusters` less one.

    Args:
        values, method, bounds, seeds: as in `interval`.
    """
    import numpy as np
    from scipy import stats

    sums, counts = by_cluster(values)
    mean = float(sums.sum() / counts.sum())
    clusters = len(counts)
    if clusters < 2:
        return Interval(mean, *bounds)
    tail = expanded_tail(counts, method.confidence)

    def ratio(total: Any, count: Any, axis: int = -1) -> Any:
        return total.sum(axis=axis) / count.sum(axis=axis)

    found = stats.bootstrap(
        (sums, counts), ratio, paired=True, vectorized=True, method="percentile",
        n_resamples=method.resamples, batch=max(1, AT_ONCE // clusters),
        confidence_level=1 - 2 * tail, rng=np.random.default_rng(method.seed))
    drawn = Interval(mean, float(found.confidence_interval.low),
                     float(found.confidence_interval.high))
    return widened(drawn, cluster_part(values), seeds, method.confidence, bounds)


def alike(values: Sequence[tuple[str, float]]) -> bool:
    """Whether all of some (cluster, value) have the same value."""
    found = [value for _, value in values]
    return max(found) - min(found) <= SAME


def exact(mean: float, number: float, confidence: float) -> Interval:
    """The interval of Clopper & Pearson around a share.

    (1934, The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial,
    Biometrika 26:404.) By quantiles of the beta distribution, so that neither has to be whole.

    Args:
        mean: the share that was seen, 0 to 1.
        number: of how many.
        confidence: 0 to 1, of the interval.
    """
    from scipy import stats

    seen, tail = mean * number, (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, seen, number - seen + 1)) if mean > 0 else 0.0
    high = float(stats.beta.isf(tail, seen + 1, number - seen)) if mean < 1 else 1.0
    return Interval(mean, low, high)


def widened(drawn: Interval, clusters: Part, seeds: Sequence[Part], confidence: float,
            bounds: tuple[float, float]) -> Interval:
    """A bootstrap interval over clusters with the variance that training seeds add.

    Its ends are moved away from the mean in proportion: by how far Student's t goes with both,
    over how far it goes with the clusters alone (see `seeds.quantile`).

    Args:
        drawn: the interval over the clusters.
        clusters: the variance behind it.
        seeds: the parts that seeds add; it is `drawn` without any.
        confidence: 0 to 1, of the interval.
        bounds: what the mean could be at most.
    """
    if variance(seeds) == 0:
        return drawn
    reach = _reach([clusters, *seeds], confidence)
    low, high = drawn.mean - drawn.low, drawn.high - drawn.mean
    if clusters.variance > 0:
        more = reach / _reach([clusters], confidence)
        low, high = low * more, high * more
    else:  # clusters that are all alike leave nothing to move in proportion
        low, high = reach, reach
    return Interval(drawn.mean, max(bounds[0], drawn.mean - low),
                    min(bounds[1], drawn.mean + high))


def widened_by(drawn: Interval, clusters: Sequence[tuple[str, float]], seeds: Sequence[Part],
               confidence: float) -> Interval:
    """As `widened`, of what is no mean: the variance is read back from the interval.

    Args:
        drawn: within 0 and 1, made as `interval` makes them.
        clusters: (cluster, anything) for each question behind it.
        seeds, confidence: as in `widened`.
    """
    _, counts = by_cluster(clusters)
    if len(counts) < 2:
        return drawn
    alone = Part(1.0, effective_clusters(counts) - 1)
    error = (drawn.high - drawn.low) / 2 / _reach([alone], confidence)
    return widened(drawn, Part(error ** 2, alone.degrees), seeds, confidence, (0.0, 1.0))


def _reach(found: Sequence[Part], confidence: float) -> float:
    """How far from a mean whose variance has these parts its interval goes."""
    return math.sqrt(variance(found)) * quantile(found, (1 - confidence) / 2)


def cluster_part(values: Sequence[tuple[str, float]]) -> Part:
    """The clustered variance of the mean of `values`, two clusters or more.

    Of a ratio of sums over counts, by linearisation: n / (n - 1) times the squares of what each
    cluster's sum is away from its count times the mean, over the square of all counts (Cochran
    1977, Sampling Techniques, section 6.3).
    """
    sums, counts = by_cluster(values)
    clusters, number = len(counts), counts.sum()
    left = sums - sums.sum() / number * counts
    # Rounding is no variance.
    left[abs(left) <= SAME] = 0.0
    return Part(float(clusters / (clusters - 1) * (left ** 2).sum() / number ** 2),
                effective_clusters(counts) - 1)


def expanded_tail(counts: Any, confidence: float) -> float:
    """The bootstrap quantile at which the expanded percentile interval ends: see `interval`.

    Args:
        counts: questions in each cluster, two clusters or more.
        confidence: 0 to 1, of the interval.
    """
    from scipy import stats

    clusters = len(counts)
    return float(stats.norm.sf(
        math.sqrt(clusters / (clusters - 1))
        * stats.t.isf((1 - confidence) / 2, effective_clusters(counts) - 1)))


def effective_clusters(counts: Any) -> float:
    """(sum of counts)^2 / sum of squared counts: how many clusters of one size they are worth.

    Satterthwaite's degrees of freedom (1946, An Approximate Distribution of Estimates of
    Variance Components, Biometrics Bulletin 2:110), before one is lost to the mean, for a
    variance to which each cluster adds in proportion to its questions.
    """
    return float(counts.sum() ** 2 / (counts ** 2).sum())


def by_cluster(values: Sequence[tuple[str, float]]) -> tuple[Any, Any]:
    """Sum and count per cluster, in order of first appearance: two float arrays."""
    import numpy as np

    index: dict[str, int] = {}
    places = np.array([index.setdefault(cluster, len(index)) for cluster, _ in values])
    return (np.bincount(places, weights=[value for _, value in values]),
            np.bincount(places).astype(float))
