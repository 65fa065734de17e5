"""On how many questions one arm is right and the other is not: McNemar's exact test."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from phi3kit.records import Discordance, Row

# Measures of one answer that are yes or no, and that apply to a question whatever the arm.
YES_NO = ("exact_match", "contains", "abstention", "label_accuracy", "format_valid")


def discordances(rows: Sequence[Row], arms: Sequence[str]) -> tuple[Discordance, ...]:
    """Every pair of arms on every yes/no metric that they were measured by.

    McNemar's exact test (1947, Psychometrika 12:153) asks whether the questions that one arm
    alone has right are shared out evenly. It takes questions for independent, and questions
    about one document are not: its p-value is too small there. It is shown beside the test
    that flips whole documents, and that one decides. Of an arm with several training seeds a
    question counts as right where at least half of them have it right.

    Args:
        rows: of every arm, with the same questions.
        arms: those to pair.

    Returns:
        By metric in the order of YES_NO, then by pair; p-values are not adjusted.
    """
    right = {(arm, metric): {row.question_id: row.metrics[metric] >= 0.5 for row in rows
                             if row.arm == arm and metric in row.metrics}
             for arm in arms for metric in YES_NO}
    found = []
    for metric, (a, b) in itertools.product(YES_NO, itertools.combinations(arms, 2)):
        one, other = right[a, metric], right[b, metric]
        cells = Counter((one[key], other[key]) for key in one if key in other)
        if cells:
            found.append(_tested(a, b, metric, cells))
    return tuple(found)


def _tested(a: str, b: str, metric: str, cells: Counter[tuple[bool, bool]]) -> Discordance:
    from statsmodels.stats.contingency_tables import mcnemar

    both, only_a = cells[True, True], cells[True, False]
    only_b, neither = cells[False, True], cells[False, False]
    p = mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue
    return Discordance(a, b, metric, only_a=only_a, only_b=only_b, both=both, neither=neither,
                       p=float(p))
