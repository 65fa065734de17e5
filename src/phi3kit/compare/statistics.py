"""Means, paired differences and their uncertainty, clustered by source document.

Questions about one document rise and fall together, so documents, not questions, are what
is drawn again in the bootstrap and flipped in the test.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phi3kit.compare.metrics import METRICS, bounds_of
from phi3kit.compare.seeds import Part, p_value, parts, quantile, variance
from phi3kit.records import ArmSummary, Difference, Interval, Row, Spread, TrainingSeeds

# Numbers held at once while resampling; it bounds memory (16 MB) and changes no result.
_AT_ONCE = 2_000_000
# Statistics of two flips nearer than this are a tie: what is left is rounding.
_SAME = 1e-9
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
    _, counts = _by_cluster(values)
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

    sums, counts = _by_cluster(values)
    mean = float(sums.sum() / counts.sum())
    clusters = len(counts)
    if clusters < 2:
        return Interval(mean, *bounds)
    tail = expanded_tail(counts, method.confidence)

    def ratio(total: Any, count: Any, axis: int = -1) -> Any:
        return total.sum(axis=axis) / count.sum(axis=axis)

    found = stats.bootstrap(
        (sums, counts), ratio, paired=True, vectorized=True, method="percentile",
        n_resamples=method.resamples, batch=max(1, _AT_ONCE // clusters),
        confidence_level=1 - 2 * tail, rng=np.random.default_rng(method.seed))
    drawn = Interval(mean, float(found.confidence_interval.low),
                     float(found.confidence_interval.high))
    return widened(drawn, cluster_part(values), seeds, method.confidence, bounds)


def alike(values: Sequence[tuple[str, float]]) -> bool:
    """Whether all of some (cluster, value) have the same value."""
    found = [value for _, value in values]
    return max(found) - min(found) <= _SAME


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
    _, counts = _by_cluster(clusters)
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
    sums, counts = _by_cluster(values)
    clusters, number = len(counts), counts.sum()
    left = sums - sums.sum() / number * counts
    # Rounding is no variance.
    left[abs(left) <= _SAME] = 0.0
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


def paired_p(values: Sequence[tuple[str, float]], method: Method,
             seeds: Sequence[Part] = ()) -> float:
    """Two-sided p-value that paired differences are zero on average, seeds drawn anew too.

    Flipping signs knows nothing of seeds: one that is lucky is so on every document. With
    several seeds it is the larger of that test's p-value and that of a t test with the variance
    of documents and seeds together (see `seeds.quantile`).

    Args:
        values: (cluster, difference) for each question.
        method: number of flips and seed.
        seeds: what training seeds add to the variance of the mean difference; without any it is
            the test by flips alone.
    """
    flipped = sign_flip_p(values, method)
    if flipped == 1.0 or variance(seeds) == 0:
        return flipped
    mean = math.fsum(value for _, value in values) / len(values)
    return max(flipped, p_value(mean, [cluster_part(values), *seeds]))


def sign_flip_p(values: Sequence[tuple[str, float]], method: Method) -> float:
    """Two-sided p-value that paired differences are zero on average.

    Permutation test at the level of clusters: were the two arms the same, each document's
    differences could as well have the other sign. Exact when 2^clusters is at most the number
    of resamples, by random flips otherwise. (Good 2005, Permutation, Parametric and Bootstrap
    Tests of Hypotheses.)

    What is compared is the sum over its standard error, as in the wild cluster bootstrap
    (Cameron, Gelbach & Miller 2008, Bootstrap-Based Improvements for Inference with Clustered
    Errors, The Review of Economics and Statistics 90:414), and flips as extreme as what was
    seen count half (the mid-p value: Fagerland, Lydersen & Laake 2013, The McNemar Test for
    Binary Matched-Pairs Data, BMC Medical Research Methodology 13:91). Yes/no scores tie so
    often that without both a test at 5% would err in 1% of all comparisons by 20 questions
    about 10 documents. The price: on some data it errs a little more often than its level
    says. Never below 2 / 2^clusters: with few clusters it cannot be small, which is as it
    should be.

    Args:
        values: (cluster, difference) for each question.
        method: number of flips and seed.
    """
    import numpy as np
    from scipy import stats

    sums, counts = _by_cluster(values)
    clusters = len(sums)

    def studentised(one: Any, other: Any, axis: int = -1) -> Any:
        return _studentised(one - other, counts)

    if clusters < 2 or abs(studentised(sums, 0.0)) <= _SAME:
        return 1.0
    found = stats.permutation_test(
        (sums, np.zeros_like(sums)), studentised, permutation_type="samples", vectorized=True,
        n_resamples=method.resamples, batch=max(1, _AT_ONCE // clusters),
        rng=np.random.default_rng(method.seed))
    seen, flips = abs(found.statistic), np.abs(found.null_distribution)
    # Among random flips what was seen counts as one, so that no p-value is zero.
    added = 0 if 2 ** clusters <= method.resamples else 1
    tied = int((np.abs(flips - seen) <= _SAME).sum()) + added
    beyond = int((flips > seen + _SAME).sum())
    return float(max((beyond + tied / 2) / (len(flips) + added), 2.0 ** (1 - clusters)))


def _studentised(sums: Any, counts: Any) -> Any:
    """t / sqrt(1 + t^2) along the last axis, t being the sum over its clustered standard error.

    It has the order of t but stays finite where each cluster has the same mean.
    """
    import numpy as np

    total = sums.sum(axis=-1)
    left = sums - (total / counts.sum())[..., None] * counts
    size = np.sqrt(total ** 2 + (left ** 2).sum(axis=-1))
    return total / np.where(size > 0, size, 1.0)


def effective_clusters(counts: Any) -> float:
    """(sum of counts)^2 / sum of squared counts: how many clusters of one size they are worth.

    Satterthwaite's degrees of freedom (1946, An Approximate Distribution of Estimates of
    Variance Components, Biometrics Bulletin 2:110), before one is lost to the mean, for a
    variance to which each cluster adds in proportion to its questions.
    """
    return float(counts.sum() ** 2 / (counts ** 2).sum())


def _by_cluster(values: Sequence[tuple[str, float]]) -> tuple[Any, Any]:
    """Sum and count per cluster, in order of first appearance: two float arrays."""
    import numpy as np

    index: dict[str, int] = {}
    places = np.array([index.setdefault(cluster, len(index)) for cluster, _ in values])
    return (np.bincount(places, weights=[value for _, value in values]),
            np.bincount(places).astype(float))


def summarise(arm: str, rows: Sequence[Row], metric: str, method: Method,
              seeds: Sequence[TrainingSeeds] = ()) -> ArmSummary:
    """One arm's means with intervals, its mean by kind on `metric`, and what it cost."""
    measured: dict[str, Interval] = {}
    for name in METRICS:
        values = [(row.cluster, row.metrics[name]) for row in rows if name in row.metrics]
        if values:
            measured[name] = interval(values, method, bounds=bounds_of(name),
                                      seeds=parts(seeds, [(arm, name, 1.0)]))
    kinds = dict.fromkeys(row.kind for row in rows if row.kind)
    by_kind = {kind: _mean([row.metrics[metric] for row in rows if row.kind == kind])
               for kind in kinds}
    return ArmSummary(
        arm=arm, questions=len(rows), errors=sum(bool(row.error) for row in rows),
        metrics=measured, by_kind=by_kind, tokens_in=sum(row.tokens_in for row in rows),
        tokens_out=sum(row.tokens_out for row in rows), **times(rows))


def times(rows: Sequence[Row]) -> dict[str, float]:
    """Seconds in all, median and 95th percentile per answer (nearest rank).

    Kept apart because they are what differs between two runs that are otherwise the same.
    """
    seconds = sorted(row.seconds for row in rows)

    def rank(share: float) -> float:
        return seconds[max(0, math.ceil(share * len(seconds)) - 1)]

    return {"seconds": math.fsum(seconds), "latency_p50": rank(0.50), "latency_p95": rank(0.95)}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def differences(rows: Sequence[Row], arms: Sequence[str], metric: str, method: Method,
                seeds: Sequence[TrainingSeeds] = ()) -> tuple[Difference, ...]:
    """Every pair of arms on `metric`, paired by question, p-values Holm-adjusted over the pairs.

    Args:
        rows: every arm's rows; each arm has the same questions.
        arms: two or more arms.
        metric: the deciding metric, which every row has.
        method: level, resamples and seed.
        seeds: of the arms that answered with several.
    """
    from statsmodels.stats.multitest import multipletests

    worth = {arm: {row.question_id: row.metrics[metric] for row in rows if row.arm == arm}
             for arm in arms}
    cluster = {row.question_id: row.cluster for row in rows}
    pairs = list(itertools.combinations(arms, 2))
    paired = [[(cluster[key], worth[a][key] - worth[b][key]) for key in worth[a]]
              for a, b in pairs]
    added = [parts(seeds, [(a, metric, 1.0), (b, metric, -1.0)]) for a, b in pairs]
    raw = [paired_p(values, method, own) for values, own in zip(paired, added, strict=True)]
    adjusted = multipletests(raw, method="holm")[1]
    return tuple(
        Difference(a, b, interval(values, method, bounds=(-1.0, 1.0), seeds=own), float(p),
                   _spread(values, own), _error(values))
        for (a, b), values, own, p in zip(pairs, paired, added, adjusted, strict=True))


def seed_share(values: Sequence[tuple[str, float]], seeds: Sequence[Part]) -> float | None:
    """The share of the variance of a mean that training seeds make; None where nothing varies."""
    if len({cluster for cluster, _ in values}) < 2:
        return None
    added = variance(seeds)
    whole = added + cluster_part(values).variance
    return added / whole if whole > 0 else None


def _error(values: Sequence[tuple[str, float]]) -> float | None:
    """The clustered standard error of a mean; None for one document."""
    if len({cluster for cluster, _ in values}) < 2:
        return None
    return math.sqrt(cluster_part(values).variance)


def _spread(values: Sequence[tuple[str, float]], seeds: Sequence[Part]) -> Spread | None:
    """What the standard error of a difference is made of; None without several seeds."""
    documents = _error(values)
    if not seeds or documents is None:
        return None
    return Spread(documents, math.sqrt(variance(seeds)), min(part.degrees for part in seeds))
