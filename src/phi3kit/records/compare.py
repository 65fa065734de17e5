"""Every option on held-out questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from phi3kit.records.common import Interval, Option


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out question. `answers` is empty when it is unanswerable."""

    id: str
    question: str
    answers: tuple[str, ...] = ()
    source_ids: tuple[str, ...] = ()
    answerable: bool = True
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One arm's answer to one question, with everything that the report prints from it.

    Attributes:
        cluster: the source document that the question is grouped under in the statistics.
        metrics: score by metric name, 0 to 1; an error scores 0 everywhere.
        error: why there is no answer; "" when there is one.
    """

    arm: str
    question_id: str
    kind: str
    cluster: str
    question: str
    gold: tuple[str, ...]
    output: str
    abstained: bool
    citations: tuple[str, ...]
    removed_citations: tuple[int, ...]
    passages: tuple[str, ...]
    sources: tuple[str, ...]
    tokens_in: int
    tokens_out: int
    seconds: float
    metrics: Mapping[str, float]
    error: str = ""


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm over all questions. `metrics` maps a metric's name to its interval."""

    arm: str
    questions: int
    errors: int
    metrics: Mapping[str, Interval]
    by_kind: Mapping[str, float]
    tokens_in: int
    tokens_out: int
    seconds: float
    latency_p50: float
    latency_p95: float


@dataclass(frozen=True, slots=True)
class Difference:
    """`a` minus `b` on the deciding metric, paired by question.

    Attributes:
        p: two-sided p-value, Holm-adjusted over the differences that were tested.
    """

    a: str
    b: str
    difference: Interval
    p: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison says.

    Attributes:
        winner: the arm that beats every other; None when that is not decidable.
        contenders: the arms that cannot be told apart from the best one (best first).
        prediction: what was advised before; None when there was no advice.
        outcome: the prediction's fate; None when there was no prediction.
        sentence: the verdict in a sentence.
        questions_needed: about how many questions would settle it; None when settled.
    """

    winner: Option | None
    contenders: tuple[str, ...]
    metric: str
    prediction: Option | None
    outcome: Literal["confirmed", "refuted", "undecided"] | None
    sentence: str
    questions_needed: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished comparison: the verdict and everything it rests on.

    Attributes:
        conditions: what all arms shared (checkpoint, quantisation, template, decoding,
            index), as asserted at run time.
    """

    run: str
    verdict: Verdict
    arms: tuple[ArmSummary, ...]
    differences: tuple[Difference, ...]
    conditions: Mapping[str, Any]
    confidence: float
    clusters: int
    advice: Mapping[str, Any] | None = None
    reused_rows: int = 0
    seconds: float = 0.0
    rows: tuple[Row, ...] = field(default=(), repr=False)
