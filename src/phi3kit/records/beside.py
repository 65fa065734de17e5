"""What is measured beside the arms: freshness, the learning curve, what answers cost."""

from __future__ import annotations

from dataclasses import dataclass

from phi3kit.records.common import Arm, Interval


@dataclass(frozen=True, slots=True)
class FreshArm:
    """One arm on facts that were edited after it was made: shares of them, 0 to 1.

    Attributes:
        updated: the answer has the new fact, and not the old one.
        outdated: it still has the old one.
        neither: anything else, abstaining included.
    """

    arm: Arm
    updated: Interval
    outdated: Interval
    neither: Interval


@dataclass(frozen=True, slots=True)
class Freshness:
    """What each arm still gets right when documents change after training.

    Attributes:
        facts: how many facts were edited, in `documents` documents.
        chunks: chunks that were embedded anew for it, in `seconds`.
        tune_seconds: what training anew took last time; None where no run tells.
        sentence: what that says.
    """

    facts: int
    documents: int
    arms: tuple[FreshArm, ...]
    chunks: int
    seconds: float
    tune_seconds: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The deciding metric of an arm that was tuned on the first `examples` examples.

    Attributes:
        run: the training run's folder.
        seconds: what its training took.
    """

    arm: Arm
    examples: int
    value: Interval
    run: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """What more examples would bring, if the curve goes on as it has so far.

    Attributes:
        examples: the number extrapolated to.
        value: expected metric there, with the interval that the questions allow.
        gain: the same, less the value at the largest size measured.
        sentence: whether more examples would pay, in words.
    """

    arm: Arm
    examples: int
    value: Interval
    gain: Interval
    sentence: str


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Nested subsets of the examples, each trained on and asked.

    Attributes:
        points: by arm, then by size.
        extrapolations: none with fewer than three sizes.
    """

    metric: str
    points: tuple[CurvePoint, ...]
    extrapolations: tuple[Extrapolation, ...] = ()


@dataclass(frozen=True, slots=True)
class LossCurve:
    """How the training loss of an adapter fell.

    Attributes:
        arms: those that answer with it.
        run: its run folder.
        points: (optimizer step, mean loss over the steps since the point before), ascending.
    """

    arms: tuple[Arm, ...]
    run: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class ArmCost:
    """What an arm takes; None stands for what was not measured.

    Attributes:
        tokens_in, tokens_out: per answer.
        answers_per_second: as batched here, model time only.
        memory_bytes: peak of the process while it answered.
        train_seconds, train_memory_bytes: of its adapter.
        index_seconds: of the collection, built from nothing.
        energy_joules: per answer, where the machine counts it.
        correct: share of the answers that count as right (deciding metric at least 0.5).
        monthly: by the user's volume and refreshes, in `unit` of Costs.
        per_correct: the same per right answer; without a volume, what answering alone takes.
        fixed, each: of a month's cost, what comes with the refreshes and what each question
            adds, in `unit`.
    """

    arm: Arm
    tokens_in: float
    tokens_out: float
    latency_p50: float
    latency_p95: float
    answers_per_second: float
    correct: float
    memory_bytes: int | None = None
    train_seconds: float | None = None
    train_memory_bytes: int | None = None
    index_seconds: float | None = None
    energy_joules: float | None = None
    monthly: float | None = None
    per_correct: float | None = None
    fixed: float | None = None
    each: float | None = None


@dataclass(frozen=True, slots=True)
class BreakEven:
    """The questions a month from which `cheaper` costs less than `dearer`."""

    cheaper: Arm
    dearer: Arm
    questions: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of every arm that can win.

    Attributes:
        unit: of `monthly` and `per_correct`: a currency where prices were given, else machine
            seconds.
        questions_per_month, refreshes_per_month: what the user said; None where not.
        load_seconds: of model and index, once.
        basis: what the figures rest on, a sentence each.
    """

    arms: tuple[ArmCost, ...]
    unit: str
    questions_per_month: float | None
    refreshes_per_month: float | None
    load_seconds: float | None
    break_evens: tuple[BreakEven, ...] = ()
    basis: tuple[str, ...] = ()
