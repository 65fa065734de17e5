"""The advice before and after a comparison in words, for all reports."""

from __future__ import annotations

from phi3kit.records import Comparison, Revised


def revised_sentences(comparison: Comparison) -> list[str]:
    """The advice before and after, and what the scores do not tell; [] where that is unknown."""
    revised = comparison.revised
    if revised is None:
        return []
    sure = ("" if revised.before_confidence is None else f" ({revised.before_confidence:.0%})")
    said = f"dvice before: {revised.before}{sure} → after: {revised.after} ({_standing(revised)})."
    # Weights may choose another arm than the score, which the advice is redone with.
    lead = "A" if comparison.choice is None else "On quality alone, a"
    beside = f"Beside the score: {'; '.join(revised.requirements)}."
    return [lead + said, *([beside] if revised.requirements else [])]


def _standing(revised: Revised) -> str:
    """What the advice after rests on, in a few words."""
    if revised.basis == "argued":
        return (f"by the rules, {revised.confidence:.0%}; the comparison does not decide it")
    return "measured" if revised.decided else "measured, still open"
