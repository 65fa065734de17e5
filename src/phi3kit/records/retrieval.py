"""How well retrieval finds what is known to hold the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from phi3kit.records.common import Interval


@dataclass(frozen=True, slots=True)
class RetrievalMode:
    """One way of retrieving, over all questions.

    Attributes:
        metrics: hit@k for several k, MRR@10 and nDCG@10, by name.
        ahead: nDCG@10 minus that of dense retrieval, paired; None for dense itself.
    """

    mode: str
    metrics: Mapping[str, Interval]
    ahead: Interval | None


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """How well passages are found for questions whose documents are known.

    Attributes:
        questions: those that carry source_ids; `left_out` carry none.
        clusters: source documents that the intervals are clustered by.
        fingerprint: identity of the collection.
    """

    collection: str
    fingerprint: str
    questions: int
    left_out: int
    clusters: int
    confidence: float
    modes: tuple[RetrievalMode, ...]
