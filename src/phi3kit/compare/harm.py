"""What an arm breaks: knowledge forgotten, citations made up, the unanswerable answered."""

from __future__ import annotations

from collections.abc import Sequence

from phi3kit.compare.statistics import Method, interval
from phi3kit.records import Harm, Interval, Option, Row

# What tells that a general question was answered right, however many words stand around it.
KNOWS = "contains"


def harms(rows: Sequence[Row], general: Sequence[Row], arms: Sequence[Option],
          method: Method) -> tuple[Harm, ...]:
    """The harm that each of `arms` does.

    Args:
        rows: scored answers to the held-out questions.
        general: scored answers to the general questions, those of base among them; may be
            empty.
        arms: those that can win.
    """
    known = {row.question_id for row in general
             if row.arm == "base" and row.gold and row.metrics[KNOWS] == 1}
    return tuple(_harm(arm, [row for row in rows if row.arm == arm],
                       [row for row in general if row.arm == arm], known, method)
                 for arm in arms)


def _harm(arm: Option, rows: Sequence[Row], general: Sequence[Row], known: set[str],
          method: Method) -> Harm:
    asked_again = [(row.cluster, 1 - row.metrics[KNOWS]) for row in general
                   if row.question_id in known]
    return Harm(
        arm=arm, known=len(known),
        forgotten=interval(asked_again, method) if asked_again and arm != "base" else None,
        answered_unanswerable=_mean(rows, "abstention_recall", method, less=1.0),
        fabricated_citations=_mean(rows, "fabricated_citations", method),
        unsupported_numbers=_mean(rows, "unsupported_numbers", method))


def _mean(rows: Sequence[Row], name: str, method: Method, *,
          less: float | None = None) -> Interval | None:
    values = [(row.cluster, row.metrics[name]) for row in rows if name in row.metrics]
    if not values:
        return None
    if less is not None:
        values = [(cluster, less - value) for cluster, value in values]
    return interval(values, method)
