"""Finished comparisons held against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from phi3kit.records.common import Interval


@dataclass(frozen=True, slots=True)
class SetRun:
    """One of the runs.

    Attributes:
        label: "A" for the first, then "B", "C", …
        run: its folder.
        metric: what decided in it.
        confidence: level of its verdict.
        questions, clusters: how many questions, about how many source documents.
        winner: None where it was not decidable.
        sentence: its verdict.
    """

    label: str
    run: str
    metric: str
    confidence: float
    questions: int
    clusters: int
    winner: str | None
    sentence: str


@dataclass(frozen=True, slots=True)
class SetArm:
    """One arm in every run: its mean over all questions of that run; None where it did not run.

    Attributes:
        diagnostic: it cannot win.
    """

    arm: str
    diagnostic: bool
    means: tuple[Interval | None, ...]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Which questions a run shares with the first.

    Attributes:
        shared: the same id, wording, kind and right answers; only they are paired.
        changed: the same id, but something else differs.
        only_first, only_here: asked in one of the two alone.
    """

    run: str
    shared: int
    changed: int
    only_first: int
    only_here: int


@dataclass(frozen=True, slots=True)
class Shift:
    """A question whose score differs between two runs, with both answers.

    Attributes:
        before, after: the score in the first run and in the other.
        answer_before, answer_after: the outputs; why there is none, where one failed.
    """

    question_id: str
    question: str
    gold: tuple[str, ...]
    before: float
    after: float
    answer_before: str
    answer_after: str


@dataclass(frozen=True, slots=True)
class RunDifference:
    """One arm in a run minus the same arm in the first, paired by question.

    Attributes:
        run: label of the run.
        difference: over the shared questions, with its cluster bootstrap interval.
        p: two-sided, sign flips by document; Holm-adjusted over all these differences.
        gained, lost, same: how many shared questions have a higher, lower and equal score.
        most_gained, most_lost: those that changed most, largest change first.
        seeds: whether interval and p-value are about other training seeds too: the arm answered
            with several in both runs.
    """

    arm: str
    run: str
    difference: Interval
    p: float
    gained: int
    lost: int
    same: int
    most_gained: tuple[Shift, ...]
    most_lost: tuple[Shift, ...]
    seeds: bool = False


@dataclass(frozen=True, slots=True)
class Differing:
    """A condition, setting, input or version that is not the same in all runs.

    Attributes:
        values: by run, as text; None where a run has no such thing.
    """

    group: Literal["condition", "setting", "input", "version", "machine"]
    name: str
    values: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Two or more finished comparisons, the first being what the others are held against.

    Attributes:
        metric: what all are compared on here.
        confidence: level of all intervals here, 0 to 1.
        overlaps: for each run but the first.
        differences: for each run but the first and each arm that both have.
        notes: what has to be known to read it.
    """

    runs: tuple[SetRun, ...]
    metric: str
    confidence: float
    arms: tuple[SetArm, ...]
    overlaps: tuple[Overlap, ...]
    differences: tuple[RunDifference, ...]
    differing: tuple[Differing, ...]
    notes: tuple[str, ...] = ()
