"""What an arm breaks: knowledge forgotten, citations made up, the unanswerable answered."""

from __future__ import annotations

from collections.abc import Sequence

from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.seeds import averaged, parts, training_seeds
from phi3kit.records import Harm, Interval, Option, Row, TrainingSeeds

# What tells that a general question was answered right, however many words stand around it.
KNOWS = "contains"


def harms(rows: Sequence[Row], general: Sequence[Row], arms: Sequence[Option],
          method: Method, seeds: Sequence[TrainingSeeds] = ()) -> tuple[Harm, ...]:
    """The harm that each of `arms` does.

    Args:
        rows: scored answers to the held-out questions, averaged over training seeds.
        general: scored answers to the general questions, of every seed, those of base among
            them; may be empty.
        arms: those that can win.
        method: level, resamples and seed.
        seeds: of the arms that answered with several.
    """
    known = {row.question_id for row in general
             if row.arm == "base" and row.gold and row.metrics[KNOWS] == 1}
    return tuple(_harm(arm, [row for row in rows if row.arm == arm],
                       [row for row in general if row.arm == arm and row.question_id in known],
                       len(known), method, seeds)
                 for arm in arms)


def _harm(arm: Option, rows: Sequence[Row], again: Sequence[Row], known: int, method: Method,
          seeds: Sequence[TrainingSeeds]) -> Harm:
    return Harm(
        arm=arm, known=known,
        forgotten=None if arm == "base" else _mean(
            averaged(again), KNOWS, method, training_seeds(again), less=1.0),
        answered_unanswerable=_mean(rows, "abstention_recall", method, seeds, less=1.0),
        fabricated_citations=_mean(rows, "fabricated_citations", method, seeds),
        unsupported_numbers=_mean(rows, "unsupported_numbers", method, seeds))


def _mean(rows: Sequence[Row], name: str, method: Method, seeds: Sequence[TrainingSeeds], *,
          less: float | None = None) -> Interval | None:
    values = [(row.cluster, row.metrics[name]) for row in rows if name in row.metrics]
    if not values:
        return None
    if less is not None:
        values = [(cluster, less - value) for cluster, value in values]
    return interval(values, method, seeds=parts(seeds, [(rows[0].arm, name, 1.0)]))
