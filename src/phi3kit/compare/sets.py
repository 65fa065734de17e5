"""Measures of a set of answers, which are no mean of what the single answers are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phi3kit.compare.intervals import alike, effective_clusters, exact, expanded_tail
from phi3kit.compare.normal import normalise
from phi3kit.compare.words import plain
from phi3kit.records import Interval, Row

MACRO_F1 = "label_macro_f1"


def macro_f1(rows: Sequence[Row], *, confidence: float, resamples: int, seed: int) -> (
        Interval | None):
    """Macro F1 over the labels of one arm's closed answers, with a cluster bootstrap interval.

    Each label that is right somewhere counts alike, however rare; what is none of its kind's
    labels is wrong and no label of its own. Documents are drawn again with replacement, and
    labels that a draw lacks are left out of its mean. The interval is widened for few
    clusters as `intervals.interval` does it (Hesterberg 2015), and exact as there where all
    answers are right, or none is.

    Args:
        rows: of one arm; those that carry `label_accuracy` are closed.

    Returns:
        None without closed answers.
    """
    import numpy as np

    closed = [row for row in rows if "label_accuracy" in row.metrics]
    if not closed:
        return None
    right, given, wanted = _counts(closed)
    whole = np.ones((1, len(right)))
    mean = float(_macro(right, given, wanted, whole)[0])
    clusters = len(right)
    if clusters < 2:
        return Interval(mean, 0.0, 1.0)
    if alike([(row.cluster, row.metrics["label_accuracy"]) for row in closed]):
        return exact(mean, effective_clusters(wanted.sum(axis=1)), confidence)
    draws = np.random.default_rng(seed).multinomial(
        clusters, np.full(clusters, 1 / clusters), size=resamples)
    tail = expanded_tail(wanted.sum(axis=1), confidence)
    low, high = np.quantile(_macro(right, given, wanted, draws), [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


def _counts(rows: Sequence[Row]) -> tuple[Any, Any, Any]:
    """Right, given and wanted answers by cluster and label: float [clusters, labels] each."""
    import numpy as np

    labels: dict[tuple[str, str], int] = {}
    clusters: dict[str, int] = {}
    for row in rows:
        labels.setdefault((row.kind, normalise(row.gold[0])), len(labels))
        clusters.setdefault(row.cluster, len(clusters))
    right, given, wanted = (np.zeros((len(clusters), len(labels))) for _ in range(3))
    golds = tuple({row.gold[0]: None for row in rows})
    for row in rows:
        at, gold = clusters[row.cluster], labels[row.kind, normalise(row.gold[0])]
        wanted[at, gold] += 1
        if row.metrics["label_accuracy"]:  # by any of several gold answers
            right[at, gold] += 1
            given[at, gold] += 1
        elif not (row.error or row.abstained):
            label = labels.get((row.kind, normalise(plain(row.output, golds))))
            if label is not None:
                given[at, label] += 1
    return right, given, wanted


def _macro(right: Any, given: Any, wanted: Any, draws: Any) -> Any:
    """Macro F1 for each draw of clusters: `draws` is how often each is drawn, [n, clusters]."""
    import numpy as np

    both = draws @ (given + wanted)
    f1 = np.divide(2 * (draws @ right), both, out=np.zeros_like(both), where=both > 0)
    there = draws @ wanted > 0
    return (f1 * there).sum(axis=1) / there.sum(axis=1)
