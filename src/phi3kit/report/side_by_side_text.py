"""Runs side by side in words and tables, shared by the terminal, Markdown and HTML reports."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from phi3kit.records import Interval, Overlap, RunDifference, SideBySide
from phi3kit.report import comparison_text as words
from phi3kit.report.sections import Section, Table
from phi3kit.report.seeds_text import TUNED
from phi3kit.wording import listed

_ABSENT = "–"
_GROUPS = {"condition": "conditions", "setting": "settings", "input": "inputs",
           "version": "versions", "machine": "the machine"}
# Before what differs within long values, so many characters are left to see where that is.
_LEAD_IN = 12


def heading(record: SideBySide) -> str:
    """The verdicts in a line: the same, or what each is."""
    winners = [run.winner or "not decidable" for run in record.runs]
    if len(set(winners)) > 1:
        return "The verdicts differ: " + ", ".join(
            f"{run.label} {winner}" for run, winner in zip(record.runs, winners, strict=True))
    return f"The same verdict in all {len(winners)} runs: {winners[0]}"


def lead(record: SideBySide) -> list[str]:
    """What changed from the first run to each of the others, a sentence for each."""
    return [_change(record, overlap) for overlap in record.overlaps]


def _change(record: SideBySide, overlap: Overlap) -> str:
    first, run = record.runs[0].label, overlap.run
    found = [item for item in record.differences if item.run == run]
    if not overlap.shared:
        return f"{first} and {run} share no question, so nothing can be paired."
    if not found:
        return f"{first} and {run} have no arm in common."
    sure = [item for item in found if item.p < 1 - record.confidence]
    rest = [item.arm for item in found if item not in sure]
    said = [_moved(item, record.confidence) for item in sorted(
        sure, key=lambda item: -abs(item.difference.mean))]
    if rest:
        said.append(f"no change is shown for {listed(rest)}")
    return f"From {first} to {run}, {'; '.join(said)}."


def _moved(item: RunDifference, confidence: float) -> str:
    seen = item.difference
    verb = "gains"
    if seen.mean < 0:
        verb, seen = "loses", Interval(-seen.mean, -seen.high, -seen.low)
    return (f"{item.arm} {verb} {words.number(seen.mean)} ({confidence * 100:g}% interval "
            f"{words.number(seen.low)} to {words.number(seen.high)})")


def sections(record: SideBySide) -> list[Section]:
    """Runs, arms, differences, shared questions, and what is not the same."""
    return [_runs(record), _arms(record), _differences(record), _overlaps(record),
            _differing(record)]


def _runs(record: SideBySide) -> Section:
    metric = words.METRIC_NAMES
    rows = [[run.label, run.run, metric.get(run.metric, run.metric), str(run.questions),
             str(run.clusters), run.sentence] for run in record.runs]
    return Section("runs", "The runs", notes=record.notes, tables=[Table(
        "Each run's own verdict, on the metric that decided in it",
        ["", "run folder", "decided by", "questions", "documents", "verdict"], rows,
        text=(1, 2, 5))])


def _arms(record: SideBySide) -> Section:
    rows = [[f"{arm.arm} (diagnostic)" if arm.diagnostic else arm.arm,
             *(_ABSENT if mean is None else words.spread(mean) for mean in arm.means)]
            for arm in record.arms]
    return Section("arms", "The arms", tables=[Table(
        f"Mean {_metric(record)} over all questions of each run, with {_level(record)} "
        "intervals", ["arm", *(run.label for run in record.runs)], rows)])


def _differences(record: SideBySide) -> Section:
    first = record.runs[0].label
    rows = [[item.arm, f"{item.run} − {first}", words.spread(item.difference),
             words.p_value(item.p), str(item.gained), str(item.lost), str(item.same)]
            for item in record.differences]
    notes = _about(record.differences)
    return Section("differences", "Run against run", notes=notes if rows else [
        "No arm answered the same questions in two runs."], tables=[Table(
            f"{_metric(record).capitalize()} on the questions that both have, paired, with "
            f"{_level(record)} intervals",
            ["arm", "runs", "difference", "p (Holm)", "gained", "lost", "same"], rows)]
        if rows else [])


def _about(found: Sequence[RunDifference]) -> list[str]:
    """What intervals and p-values are about; training seeds are said where they are in doubt."""
    alone = list(dict.fromkeys(item.arm for item in found
                               if item.arm in TUNED and not item.seeds))
    if not alone:
        too = " and, of tuned arms, about other training seeds" if any(
            item.seeds for item in found) else ""
        return [f"The intervals and p-values are about other documents{too}."]
    return [f"The intervals and p-values are about other documents, and those of "
            f"{listed(alone)} not about another training seed: train again with another one "
            "to see how much that alone changes."]


def _overlaps(record: SideBySide) -> Section:
    first = record.runs[0].label
    changed = sum(overlap.changed for overlap in record.overlaps)
    notes = ["Questions with the same id but another wording, kind or right answer are left out "
             "of the pairs."] if changed else []
    return Section("questions", "Which questions they share", notes=notes, tables=[Table(
        "Questions by run",
        ["runs", "in both", "changed", f"only in {first}", "only in the other"],
        [[f"{first}, {overlap.run}", str(overlap.shared), str(overlap.changed),
          str(overlap.only_first), str(overlap.only_here)] for overlap in record.overlaps])])


def _differing(record: SideBySide) -> Section:
    if not record.differing:
        return Section("differing", "What is not the same", [
            "Nothing: conditions, settings, inputs, versions and machine are the same."])
    made = [Table(f"Of {_GROUPS[group]}", ["", *(run.label for run in record.runs)],
                  [[item.name.replace("_", " ") if group == "condition" else item.name,
                    *(_ABSENT if value is None else value for value in item.values)]
                   for item in record.differing if item.group == group],
                  text=range(1, len(record.runs) + 1))
            for group in dict.fromkeys(item.group for item in record.differing)]
    notes = ["Where more than one thing differs, the difference in score is that of all of them "
             "together."] if len(record.differing) > 1 else []
    return Section("differing", "What is not the same", tables=made, notes=notes)


def changed(record: SideBySide) -> list[RunDifference]:
    """The differences that have questions to show, largest difference first."""
    return sorted((item for item in record.differences if item.most_gained or item.most_lost),
                  key=lambda item: -abs(item.difference.mean))


def shortened(cells: Sequence[str], room: int) -> list[str]:
    """Texts of at most `room` characters, cut so that what differs between them stays.

    Long values, such as instructions and fingerprints, often begin alike.
    """
    if all(len(cell) <= room for cell in cells):
        return list(cells)
    places = zip(*(cell for cell in cells if cell != _ABSENT), strict=False)
    alike = sum(1 for _ in itertools.takewhile(lambda at: len(set(at)) == 1, places))
    start = max(0, alike - _LEAD_IN) if alike > room // 2 else 0
    return [cell if cell == _ABSENT else _cut(cell, start, room) for cell in cells]


def _cut(text: str, start: int, room: int) -> str:
    left = ("…" if start else "") + text[start:]
    return left if len(left) <= room else left[:room - 1] + "…"


def _metric(record: SideBySide) -> str:
    return words.METRIC_NAMES.get(record.metric, record.metric)


def _level(record: SideBySide) -> str:
    return f"{record.confidence * 100:g}%"
