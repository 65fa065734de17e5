"""Finished comparisons held against the first of them: records in, a record out, no model."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phi3kit.compare.differing import differing
from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.method import method_of
from phi3kit.compare.metrics import METRICS
from phi3kit.compare.results import load_comparison
from phi3kit.compare.seeds import Part, parts
from phi3kit.compare.statistics import paired_p
from phi3kit.errors import RunError
from phi3kit.records import (
    ARMS,
    OPTIONS,
    Comparison,
    Interval,
    Overlap,
    Row,
    RunDifference,
    SetArm,
    SetRun,
    Shift,
    SideBySide,
    TrainingSeeds,
)
from phi3kit.runs import read_run

# Questions that are named for each arm and direction; the counts are of all.
SHIFTS = 10
# Scores that differ by less are the same but for rounding.
_SAME = 1e-9
_LABELS = string.ascii_uppercase

_Rows = Mapping[str, Mapping[str, Row]]  # of one run: by arm, then by question id


def load_side_by_side(folders: Sequence[Path]) -> SideBySide:
    """The comparisons in these run folders, held against the first.

    Raises:
        RunError: a folder is not a finished comparison's or stands there twice; there are
            fewer than two or more than 26; no metric was measured in all of them.
    """
    if not 2 <= len(folders) <= len(_LABELS):
        raise RunError(f"{len(folders)} run folders cannot be set side by side",
                       mend=f"Give 2 to {len(_LABELS)} of them")
    seen: set[Path] = set()
    for folder in folders:
        if folder.resolve() in seen:
            raise RunError("given twice", where=str(folder), mend="Give it once")
        seen.add(folder.resolve())
    return side_by_side([load_comparison(folder) for folder in folders],
                        [read_run(folder) for folder in folders])


def side_by_side(comparisons: Sequence[Comparison],
                 states: Sequence[Mapping[str, Any]]) -> SideBySide:
    """What two or more comparisons say of each other.

    Level, resamples and seed are those of the first.

    Args:
        comparisons: with their rows.
        states: run.json of each, for what differs.

    Raises:
        RunError: no metric was measured in all of them.
    """
    first = comparisons[0]
    rows = [_by_arm(comparison.rows) for comparison in comparisons]
    metric = _common_metric(comparisons)
    method = method_of(first)
    overlaps = [_overlap(label, rows[0], other)
                for label, other in zip(_LABELS[1:], rows[1:], strict=False)]
    return SideBySide(
        runs=tuple(_set_run(label, comparison) for label, comparison in zip(
            _LABELS, comparisons, strict=False)),
        metric=metric, confidence=first.confidence,
        arms=_arms(comparisons, rows, metric, method),
        overlaps=tuple(overlaps),
        differences=_differences(rows, metric, method, [each.seeds for each in comparisons]),
        differing=differing(comparisons, states),
        notes=tuple(_notes(comparisons, metric)))


def _by_arm(rows: Sequence[Row]) -> _Rows:
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row.arm, {})[row.question_id] = row
    return found


def _common_metric(comparisons: Sequence[Comparison]) -> str:
    """What decided in the first run that can be had in all; else the first that all have."""
    shared = set.intersection(*(set(row.metrics) for each in comparisons for row in each.rows))
    wanted = [*(each.verdict.metric for each in comparisons), *METRICS]
    for name in wanted:
        if name in shared:
            return name
    raise RunError("no metric was measured on every question of all the runs",
                   where=", ".join(each.run for each in comparisons),
                   mend="Run phi3kit compare again: the answers are scored anew")


def _set_run(label: str, comparison: Comparison) -> SetRun:
    verdict = comparison.verdict
    return SetRun(label=label, run=comparison.run, metric=verdict.metric,
                  confidence=comparison.confidence, questions=comparison.arms[0].questions,
                  clusters=comparison.clusters, winner=verdict.winner,
                  sentence=verdict.sentence)


def _arms(comparisons: Sequence[Comparison], rows: Sequence[_Rows], metric: str,
          method: Method) -> tuple[SetArm, ...]:
    return tuple(
        SetArm(arm, arm not in OPTIONS,
               tuple(_mean(arm, comparison, mine.get(arm), metric, method)
                     for comparison, mine in zip(comparisons, rows, strict=True)))
        for arm in ARMS if any(arm in mine for mine in rows))


def _mean(arm: str, comparison: Comparison, rows: Mapping[str, Row] | None, metric: str,
          method: Method) -> Interval | None:
    """As the run's own report shows it, unless its level is another than the first run's."""
    if rows is None:
        return None
    if comparison.confidence == method.confidence:
        for summary in (*comparison.arms, *comparison.diagnostics):
            if summary.arm == arm and metric in summary.metrics:
                return summary.metrics[metric]
    return interval([(row.cluster, row.metrics[metric]) for row in rows.values()], method,
                    seeds=parts(comparison.seeds, [(arm, metric, 1.0)]))


def _identity(row: Row) -> tuple[object, ...]:
    return row.question, row.kind, tuple(sorted(row.gold))


def _questions(rows: _Rows) -> dict[str, Row]:
    return {key: row for mine in rows.values() for key, row in mine.items()}


def _overlap(label: str, first: _Rows, other: _Rows) -> Overlap:
    before, after = _questions(first), _questions(other)
    both = before.keys() & after.keys()
    shared = sum(_identity(before[key]) == _identity(after[key]) for key in both)
    return Overlap(label, shared=shared, changed=len(both) - shared,
                   only_first=len(before.keys() - after.keys()),
                   only_here=len(after.keys() - before.keys()))


def _differences(rows: Sequence[_Rows], metric: str, method: Method,
                 seeds: Sequence[Sequence[TrainingSeeds]]) -> tuple[RunDifference, ...]:
    """Each arm of each other run minus that of the first, on the questions that both have."""
    found = []
    for label, other, own in zip(_LABELS[1:], rows[1:], seeds[1:], strict=False):
        for arm in ARMS:
            pairs = _pairs(rows[0].get(arm, {}), other.get(arm, {}))
            if pairs:
                difference = _difference(arm, label, pairs, metric, method,
                                         _apart(arm, metric, seeds[0], own))
                counted = all(any(each.arm == arm for each in mine) for mine in (seeds[0], own))
                found.append(dataclasses.replace(difference, seeds=counted))
    return _adjusted(found)


def _apart(arm: str, metric: str, first: Sequence[TrainingSeeds],
           other: Sequence[TrainingSeeds]) -> tuple[Part, ...]:
    """What training seeds add to the variance of an arm's difference between two runs."""
    named = [dataclasses.replace(each, arm=f"{place} {arm}")
             for place, seeds in enumerate((first, other)) for each in seeds if each.arm == arm]
    return parts(named, [(f"0 {arm}", metric, -1.0), (f"1 {arm}", metric, 1.0)])


def _pairs(before: Mapping[str, Row], after: Mapping[str, Row]) -> list[tuple[Row, Row]]:
    return [(row, after[key]) for key, row in before.items()
            if key in after and _identity(row) == _identity(after[key])]


def _difference(arm: str, label: str, pairs: Sequence[tuple[Row, Row]], metric: str,
                method: Method, seeds: Sequence[Part]) -> RunDifference:
    """With its own p-value, not yet adjusted. Documents are those that the first run names."""
    values = [(before.cluster, after.metrics[metric] - before.metrics[metric])
              for before, after in pairs]
    shifts = [_shift(before, after, metric) for before, after in pairs]
    gained = [shift for shift in shifts if shift.after - shift.before > _SAME]
    lost = [shift for shift in shifts if shift.before - shift.after > _SAME]
    return RunDifference(
        arm=arm, run=label, difference=interval(
            values, method, bounds=(-1.0, 1.0), seeds=seeds),
        p=paired_p(values, method, seeds), gained=len(gained), lost=len(lost),
        same=len(pairs) - len(gained) - len(lost),
        most_gained=_largest(gained), most_lost=_largest(lost))


def _shift(before: Row, after: Row, metric: str) -> Shift:
    return Shift(
        question_id=before.question_id, question=before.question, gold=before.gold,
        before=before.metrics[metric], after=after.metrics[metric],
        answer_before=_said(before), answer_after=_said(after))


def _said(row: Row) -> str:
    return f"failed: {row.error}" if row.error else row.output


def _largest(shifts: Sequence[Shift]) -> tuple[Shift, ...]:
    """The order of the questions breaks ties."""
    return tuple(sorted(shifts, key=lambda shift: -abs(shift.after - shift.before))[:SHIFTS])


def _adjusted(found: Sequence[RunDifference]) -> tuple[RunDifference, ...]:
    if not found:
        return ()
    from statsmodels.stats.multitest import multipletests

    adjusted = multipletests([item.p for item in found], method="holm")[1]
    return tuple(dataclasses.replace(item, p=float(p))
                 for item, p in zip(found, adjusted, strict=True))


def _notes(comparisons: Sequence[Comparison], metric: str) -> list[str]:
    notes = []
    if any(each.verdict.metric != metric for each in comparisons):
        own = ", ".join(f"{label} by {each.verdict.metric.replace('_', ' ')}"
                        for label, each in zip(_LABELS, comparisons, strict=False))
        notes.append(f"Not all runs were decided by the same metric ({own}); here all are "
                     f"compared on {metric.replace('_', ' ')}, which all have.")
    if len({each.confidence for each in comparisons}) > 1:
        own = ", ".join(f"{label} at {each.confidence * 100:g}%"
                        for label, each in zip(_LABELS, comparisons, strict=False))
        notes.append(f"The verdicts were reached at different levels ({own}); the intervals "
                     f"here are all at {comparisons[0].confidence * 100:g}%.")
    return notes
