"""Which metrics an arm's answers can have at all, told from the questions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from phi3kit.compare.arms import READS, RETRIEVING
from phi3kit.compare.formats import Formats
from phi3kit.compare.metrics import SIMILARITY, Seen, closed_kinds, measure
from phi3kit.compare.sets import MACRO_F1
from phi3kit.records import Arm, Question

_SOURCES = "an arm that reads passages, and questions that name their source_ids"
_LABELS = "questions whose answers are a few labels"
NEEDS: Mapping[str, str] = {
    "format_valid": "questions that name a format (compare.formats)",
    SIMILARITY: "compare.similarity",
    "hit_at_k": "an arm that retrieves, and questions that name their source_ids",
    "citation_precision": _SOURCES, "citation_recall": _SOURCES,
    "fabricated_citations": "an arm that reads passages",
    "unsupported_numbers": "an arm that reads passages",
    "label_accuracy": _LABELS, MACRO_F1: _LABELS,
    "term_recall": "questions that name their terms",
    "abstention_recall": "questions without an answer",
    "length_ratio": "questions with an answer"}
"""What has to be there for a metric, in words, where not every arm's answers have it."""


def measurable(arm: Arm, questions: Sequence[Question], formats: Formats, *,
               similarity: bool) -> frozenset[str]:
    """The metrics that some answer of `arm` could have, were it as it should be.

    A right answer that cites its passages and an abstention are measured for each question, so
    that nothing is said here that `metrics.measure` does not say.
    """
    closed, reads = closed_kinds(questions), arm in READS
    found: set[str] = set()
    for question in questions:
        sources = (question.source_ids or ("any",)) if reads else ()
        for abstained in (False, True):
            found |= measure(Seen(
                question, "" if abstained else next(iter(question.answers), "yes"),
                abstained=abstained, shown=sources, cited=() if abstained else sources,
                closed=question.kind in closed, retrieved=arm in RETRIEVING, reads=reads),
                formats).keys()
    if "label_accuracy" in found:
        found.add(MACRO_F1)
    if similarity and any(question.answers for question in questions):
        found.add(SIMILARITY)
    return frozenset(found)
