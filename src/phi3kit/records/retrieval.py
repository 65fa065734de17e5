"""How well retrieval finds what is known to hold the answer, and when it should find nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from phi3kit.records.common import Interval


@dataclass(frozen=True, slots=True)
class RetrievalMode:
    """One way of retrieving, over all questions.

    Attributes:
        metrics: hit@k for several k, recall@10, MRR@10 and nDCG@10, by name.
    """

    mode: str
    metrics: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class ModeDifference:
    """nDCG@10 of `mode` minus that of `other`, paired by question.

    Attributes:
        p: two-sided, sign flips by document; Holm-adjusted over all pairs of modes.
        verdict: "better" or "worse" when the interval leaves zero out and `p` is small enough
            for its level, else "no difference shown".
    """

    mode: str
    other: str
    difference: Interval
    p: float
    verdict: str


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """How well passages are found for questions whose documents are known.

    Attributes:
        questions: those whose documents are known; of `left_out` they are not.
        clusters: source documents that the intervals are clustered by.
        fingerprint: identity of the collection.
        unit: what is ranked, "passages" or "documents" (each at its best passage).
        differences: every pair of modes.
    """

    collection: str
    fingerprint: str
    questions: int
    left_out: int
    clusters: int
    confidence: float
    unit: str
    modes: tuple[RetrievalMode, ...]
    differences: tuple[ModeDifference, ...]


@dataclass(frozen=True, slots=True)
class ThresholdEffect:
    """What a threshold does to questions that it was not chosen on.

    Attributes:
        refused: share of the unanswerable questions that are left without passages.
        wrongly_refused: the same share of the answerable ones.
        balanced_accuracy: mean of `refused` and 1 - `wrongly_refused`.
    """

    refused: Interval
    wrongly_refused: Interval
    balanced_accuracy: Interval


@dataclass(frozen=True, slots=True)
class ThresholdPoint:
    """A threshold and the shares of all questions that it leaves without passages."""

    threshold: float
    refused: float
    wrongly_refused: float


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """Which `ask.min_similarity` tells answerable from unanswerable questions best.

    Attributes:
        limit: share of answerable questions that the chosen threshold may refuse.
        points: the trade-off, from the lowest threshold to the highest.
        today: the threshold in use.
        chosen: the best one on all questions.
        effect_today, effect_chosen: the latter by cross-validation over source documents:
            each question is judged by a threshold that was chosen on other documents.
        gain: balanced accuracy of the chosen one minus today's, paired.
        p: of `gain`: two-sided, sign flips by document.
        verdict: "better", "worse" or "no difference shown", by `gain` and `p`.
    """

    collection: str
    fingerprint: str
    answerable: int
    unanswerable: int
    clusters: int
    folds: int
    confidence: float
    limit: float
    points: tuple[ThresholdPoint, ...]
    today: float
    chosen: float
    effect_today: ThresholdEffect
    effect_chosen: ThresholdEffect
    gain: Interval
    p: float
    verdict: str
