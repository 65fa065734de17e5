"""Paired differences with their tests, and what the arms' answers come to.

Questions about one document rise and fall together, so documents, not questions, are what is
flipped in the test (for intervals see `intervals`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from phi3kit.compare.intervals import AT_ONCE, SAME, Method, by_cluster, cluster_part, interval
from phi3kit.compare.metrics import METRICS, bounds_of
from phi3kit.compare.seeds import Part, p_value, parts, variance
from phi3kit.records import ArmSummary, Difference, Interval, Row, Spread, TrainingSeeds


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

    sums, counts = by_cluster(values)
    clusters = len(sums)

    def studentised(one: Any, other: Any, axis: int = -1) -> Any:
        return _studentised(one - other, counts)

    if clusters < 2 or abs(studentised(sums, 0.0)) <= SAME:
        return 1.0
    found = stats.permutation_test(
        (sums, np.zeros_like(sums)), studentised, permutation_type="samples", vectorized=True,
        n_resamples=method.resamples, batch=max(1, AT_ONCE // clusters),
        rng=np.random.default_rng(method.seed))
    seen, flips = abs(found.statistic), np.abs(found.null_distribution)
    # Among random flips what was seen counts as one, so that no p-value is zero.
    added = 0 if 2 ** clusters <= method.resamples else 1
    tied = int((np.abs(flips - seen) <= SAME).sum()) + added
    beyond = int((flips > seen + SAME).sum())
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


def between(a: str, b: str, found: Sequence[Difference]) -> Difference:
    """The difference `a` minus `b`, turned round if it was computed as `b` minus `a`."""
    for item in found:
        if (item.a, item.b) == (a, b):
            return item
        if (item.a, item.b) == (b, a):
            seen = item.difference
            return Difference(a, b, Interval(-seen.mean, -seen.high, -seen.low), item.p,
                              item.spread, item.error)
    raise KeyError(f"no difference between {a} and {b}")


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
