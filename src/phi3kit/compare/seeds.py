"""Training seeds as a source of variance: another seed would have given another adapter.

Questions and seeds are crossed: every adapter of an arm answers every question. The variance of
a mean is that of the documents plus that of the seeds (Owen 2007, The Pigeonhole Bootstrap, The
Annals of Applied Statistics 1:386; Bouthillier et al. 2021, Accounting for Variance in Machine
Learning Benchmarks, MLSys). What a seed does to single documents is in both parts, so that their
sum is rather too large.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phi3kit.records import Row, TrainingSeeds

# (arm, metric, weight) of a sum of means.
Term = tuple[str, str, float]
# A p-value is not told more exactly than that.
_NEAR = 1e-12


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the variance of a mean, and the degrees of freedom that it was estimated with."""

    variance: float
    degrees: float


def averaged(rows: Iterable[Row]) -> tuple[Row, ...]:
    """One row for each arm and question: metrics averaged over its seeds, else as seed 0 has it.

    A metric that not every answer has, such as the precision of citations, is averaged over
    those that have it. Tokens, seconds and the text are of the first adapter, which is the one
    that `ask` answers with.
    """
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.arm, row.question_id), []).append(row)
    return tuple(_average(sorted(each, key=lambda row: row.seed)) for each in found.values())


def _average(rows: Sequence[Row]) -> Row:
    first, *others = rows
    if not others:
        return first
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.metrics.items():
            values.setdefault(name, []).append(value)
    return dataclasses.replace(first, metrics={
        name: math.fsum(each) / len(each) for name, each in values.items()})


def training_seeds(rows: Sequence[Row],
                   adapters: Mapping[str, Sequence[str]] | None = None) -> (
                       tuple[TrainingSeeds, ...]):
    """Each seed's means, of the arms that have several.

    Args:
        rows: every answer, scored.
        adapters: what tells each arm's adapters, in the order of their seeds; arms with the same
            ones are paired by seed. An arm that is not named shares none.
    """
    values: dict[str, dict[int, dict[str, list[float]]]] = {}
    for row in rows:
        of_seed = values.setdefault(row.arm, {}).setdefault(row.seed, {})
        for name, value in row.metrics.items():
            of_seed.setdefault(name, []).append(value)
    found = []
    for arm, by_seed in values.items():
        if len(by_seed) < 2:
            continue
        seeds = [by_seed[seed] for seed in sorted(by_seed)]
        everywhere = [name for name in seeds[0] if all(name in seed for seed in seeds)]
        names = (adapters or {}).get(arm) or [f"{arm} {seed}" for seed in sorted(by_seed)]
        found.append(TrainingSeeds(arm, tuple(names), {
            name: tuple(math.fsum(seed[name]) / len(seed[name]) for seed in seeds)
            for name in everywhere}))
    return tuple(found)


def parts(seeds: Iterable[TrainingSeeds], terms: Sequence[Term]) -> tuple[Part, ...]:
    """What seeds add to the variance of a weighted sum of the arms' means.

    s^2 / S with S - 1 degrees of freedom, s^2 being the variance of the sum from seed to seed.
    Arms with the same adapters are summed seed by seed, so that what an adapter does to both
    cancels in their difference; others are independent, and add a part each.

    Returns:
        () where every arm has one seed: nothing is known of it then.
    """
    by_arm = {each.arm: each for each in seeds}
    series: dict[tuple[str, ...], list[float]] = {}
    for arm, metric, weight in terms:
        own = by_arm.get(arm)
        if own is None or metric not in own.means:
            continue
        sums = series.setdefault(own.adapters, [0.0] * len(own.adapters))
        for place, mean in enumerate(own.means[metric]):
            sums[place] += weight * mean
    return tuple(between_seeds(sums) for sums in series.values())


def between_seeds(values: Sequence[float]) -> Part:
    """The variance of the mean of two or more values, one for each seed."""
    count = len(values)
    mean = math.fsum(values) / count
    squares = math.fsum((value - mean) ** 2 for value in values)
    return Part(squares / (count - 1) / count, count - 1.0)


def variance(found: Iterable[Part]) -> float:
    """The variance of a mean that has these parts."""
    return math.fsum(part.variance for part in found)


def quantile(found: Sequence[Part], tail: float) -> float:
    """What stands in the place of Student's t for a variance of several parts.

    The mean of their quantiles, weighed by their variances (Cochran & Cox 1957, Experimental
    Designs, 4.14; Cochran 1964, Approximate Significance Levels of the Behrens-Fisher Test,
    Biometrics 20:191). Satterthwaite's degrees of freedom (1946) take a few seeds that are alike
    by luck for seeds that do not matter: where seeds make most of the variance, they err in 8%
    instead of 5% of all comparisons (scripts/bench/statistics measures both).

    Args:
        found: some of them above 0.
        tail: chance beyond it, on one side.
    """
    from scipy import stats

    some = [part for part in found if part.variance > 0]
    return math.fsum(part.variance * float(stats.t.isf(tail, part.degrees))
                     for part in some) / variance(some)


def p_value(mean: float, found: Sequence[Part]) -> float:
    """Two-sided p-value of a mean whose variance has these parts, some above 0."""
    from scipy import optimize

    seen = abs(mean) / math.sqrt(variance(found))
    if quantile(found, 0.5 - _NEAR) >= seen:
        return 1.0
    if quantile(found, _NEAR) <= seen:
        return 2 * _NEAR
    tail = optimize.brentq(lambda at: quantile(found, at) - seen, _NEAR, 0.5 - _NEAR, xtol=_NEAR)
    return float(2 * tail)


def shifts(seeds: Iterable[TrainingSeeds], arms: Sequence[str], metric: str, draws: int,
           rng: Any) -> Any:
    """What other seeds could have made of the arms' means: float array [draws, arms].

    Each draw weighs the seeds' distances from their mean with normal numbers, so that it has
    variance s^2 / S and arms with the same adapters move together; it is divided by the root of
    a chi-squared over its S - 1 degrees of freedom, for s^2 is an estimate: a Student's t.
    Arms with one seed stay where they are.
    """
    import numpy as np

    moved, drawn = np.zeros((draws, len(arms))), {}
    for each in seeds:
        if each.arm not in arms or metric not in each.means:
            continue
        count = len(each.adapters)
        if each.adapters not in drawn:
            scale = np.sqrt(rng.chisquare(count - 1, (draws, 1)) / (count - 1))
            drawn[each.adapters] = rng.standard_normal((draws, count)) / scale
        away = np.array(each.means[metric])
        away -= away.mean()
        moved[:, arms.index(each.arm)] = (
            drawn[each.adapters] @ away / math.sqrt(count * (count - 1)))
    return moved
