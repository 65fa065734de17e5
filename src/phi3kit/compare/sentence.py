"""The sentence of a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from phi3kit.compare.enough import simpler, without
from phi3kit.compare.needed import documents_needed, needs_seeds
from phi3kit.compare.statistics import between
from phi3kit.records import ArmSummary, Difference, Interval, Option
from phi3kit.wording import listed


def decided(ranked: Sequence[ArmSummary], found: Sequence[Difference], metric: str,
            confidence: float) -> str:
    """The arm that beats all others, and its lead over the next best."""
    best, second = ranked[0], ranked[1]
    lead = between(best.arm, second.arm, found).difference
    return (f"{best.arm} wins with {best.metrics[metric].mean:.2f} on {_words(metric)}, "
            f"{lead.mean:.2f} ahead of {second.arm}, the next best "
            f"({interval_text(lead, confidence)}).")


def enough(winner: Option, ranked: Sequence[str], found: Sequence[Difference], margin: float,
           confidence: float) -> str:
    """The arm that is simpler, and behind no other by the margin."""
    other = cast(Option, next(arm for arm in ranked if arm != winner))
    lead = between(winner, other, found).difference
    spared = f", which needs {without(winner, other)} as well" if simpler(winner, other) else ""
    return (f"{winner} is enough: at most {margin:g} behind any other; the best of them is "
            f"{other}{spared} ({winner} minus {other} is {signed(lead.mean)}, "
            f"{interval_text(lead, confidence)}).")


def undecided(best: str, rivals: Sequence[str], found: Sequence[Difference],
              needed: int | None, *, questions: int, clusters: int, confidence: float) -> str:
    """Those that cannot be told apart, and what would tell them apart if anything does."""
    lead = between(best, rivals[0], found).difference
    sentence = (f"Not decidable yet: {listed([best, *rivals])} cannot be told apart "
                f"({best} leads {rivals[0]} by {lead.mean:.2f}, {interval_text(lead, confidence)})")
    documents = documents_needed(len(found), confidence)
    if clusters < documents:
        return (f"{sentence}; the questions are about {clusters} independent "
                f"{'document' if clusters == 1 else 'documents'}, and below {documents} nothing "
                "can be shown.")
    if needed is None and any(needs_seeds(between(best, rival, found), pairs=len(found),
                                          confidence=confidence) for rival in rivals):
        return (f"{sentence}; more questions alone would not tell, for another training seed "
                "changes as much: more seeds would.")
    if needed is None:
        return f"{sentence}; they are so close that more questions would hardly tell."
    return (f"{sentence}; about {needed} questions instead of {questions} would tell, if the "
            "difference is as large as it looks.")


def interval_text(difference: Interval, confidence: float) -> str:
    """An interval with its level: "95% interval −0.02 to 0.10"."""
    return (f"{confidence * 100:g}% interval {signed(difference.low)} to "
            f"{signed(difference.high)}")


def signed(value: float) -> str:
    """Two decimals, with a true minus; never "−0.00"."""
    text = f"{abs(value):.2f}"
    return f"−{text}" if value < 0 and text != "0.00" else text


def _words(metric: str) -> str:
    return {"score": "the score"}.get(metric, metric.replace("_", " "))
