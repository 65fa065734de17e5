"""How far the questions reach: which option is likely the best, which lead they would show."""

from __future__ import annotations

from collections.abc import Sequence

from phi3kit.advise.sample_size import POWER
from phi3kit.compare.intervals import Method
from phi3kit.compare.needed import clustered_error, documents_needed, reach, reach_with_seeds
from phi3kit.compare.seeds import shifts
from phi3kit.compare.statistics import between
from phi3kit.records import ArmSummary, Detectable, Difference, Row, TrainingSeeds

# Numbers held at once while resampling; it bounds memory (16 MB) and changes no result.
_AT_ONCE = 2_000_000
# What decides lies between 0 and 1, so that no lead is larger.
_MOST = 1.0
# Sums of scores nearer than this are a tie: what is left is rounding.
_SAME = 1e-9


def likely_best(rows: Sequence[Row], arms: Sequence[str], metric: str, method: Method,
                seeds: Sequence[TrainingSeeds] = ()) -> dict[str, float]:
    """How often each arm has the highest mean when documents, and training seeds, are drawn again.

    One draw of documents serves all arms, so that what they share cancels out; a tie is shared
    among those that tie. It is no p-value: with few documents it is surer than it should be.

    Args:
        rows: of every arm, with the same questions.
        arms: those among which the best is sought.
        metric: the deciding metric, which every row has.
        method: resamples and seed.
        seeds: of the arms that answered with several; see `seeds.shifts`.

    Returns:
        Share of draws by arm, summing to 1; empty for fewer than two documents.
    """
    import numpy as np

    documents = {name: place for place, name in
                 enumerate(dict.fromkeys(row.cluster for row in rows if row.arm in arms))}
    if len(documents) < 2:
        return {}
    sums, counts = np.zeros((len(documents), len(arms))), np.zeros(len(documents))
    for row in rows:
        if row.arm in arms:
            counts[documents[row.cluster]] += row.arm == arms[0]
            sums[documents[row.cluster], arms.index(row.arm)] += row.metrics[metric]
    # All arms have the same questions, so that the highest sum is the highest mean.
    draw, wins = np.random.default_rng(method.seed), np.zeros(len(arms))
    even = np.full(len(documents), 1 / len(documents))
    at_once = max(1, _AT_ONCE // len(documents))
    for start in range(0, method.resamples, at_once):
        times = draw.multinomial(len(documents), even, min(at_once, method.resamples - start))
        totals = times @ sums
        if seeds:
            totals += (times @ counts)[:, None] * shifts(seeds, arms, metric, len(times), draw)
        top = totals >= totals.max(axis=1, keepdims=True) - _SAME
        wins += (top / top.sum(axis=1, keepdims=True)).sum(axis=0)
    return {arm: float(share) for arm, share in zip(arms, wins / method.resamples, strict=True)}


def detectable(arms: Sequence[ArmSummary], found: Sequence[Difference], *, metric: str,
               confidence: float, clusters: int, effective: float | None = None) -> Detectable:
    """The smallest true lead of the best over the second that would be found POWER of the time.

    d = (t_level + t_power) · SE with `effective` - 1 degrees of freedom (Bloom 1995, Minimum
    Detectable Effects, Evaluation Review 19:547), two-sided, at the strictest level of Holm's
    procedure over all pairs; SE is the clustered one behind the observed interval. Where training
    seeds add to it, see `verdict.reach_with_seeds`.

    Args:
        arms: two or more, with their means on `metric`.
        found: every pair's difference.
        metric: the deciding metric.
        confidence: 0 to 1, of the verdict.
        clusters: source documents.
        effective: how many of one size they are worth; None: all have as many questions.

    Returns:
        Its difference is None when there are fewer documents than any proof takes, or so few
        beside a large one that no lead would be shown so often, and when the two never differ,
        which leaves no spread to reckon with.
    """
    best, second = sorted(arms, key=lambda arm: -arm.metrics[metric].mean)[:2]
    if clusters < documents_needed(len(found), confidence):
        return Detectable(best.arm, second.arm, None, POWER)
    pair = between(best.arm, second.arm, found)
    if pair.spread is not None:
        least = reach_with_seeds(pair.spread, clusters, pairs=len(found), confidence=confidence)
    else:
        error = clustered_error(pair, clusters=effective or clusters, confidence=confidence)
        least = reach(effective or clusters, pairs=len(found), confidence=confidence) * error
    told = least if _SAME < least <= _MOST else None
    return Detectable(best.arm, second.arm, told, POWER)
