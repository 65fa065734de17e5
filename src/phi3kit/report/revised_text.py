"""What became of the advice, and what is advised now, in words for all reports."""

from __future__ import annotations

from phi3kit.records import Comparison, Revised


def advice_sentences(comparison: Comparison) -> list[str]:
    """The advice before and its fate, the advice after, and what the scores do not tell.

    [] without advice; the first alone where the answers behind it are unknown.
    """
    if comparison.verdict.prediction is None:
        return []
    said = [_fate(comparison)]
    if (revised := comparison.revised) is not None:
        said.append(_after(revised))
        if revised.requirements:
            said.append(f"Beside the score: {'; '.join(revised.requirements)}.")
    return said


def _fate(comparison: Comparison) -> str:
    verdict = comparison.verdict
    why = {
        "confirmed": "it wins",
        "refuted": (f"{verdict.winner} is enough" if verdict.enough
                    else "at least one other arm beats it"),
        "undecided": ("it was not among the arms" if verdict.prediction not in
                      {arm.arm for arm in comparison.arms}
                      else "no arm beats it, and it does not beat all others"),
    }[verdict.outcome or "undecided"]
    # Weights may choose another arm than the score, which the advice is held against.
    lead = "The" if comparison.choice is None else "On quality alone, the"
    return (f"{lead} advice was {verdict.prediction}{_sure(comparison)}: {verdict.outcome}, "
            f"for {why}.")


def _sure(comparison: Comparison) -> str:
    """How sure the advice was; "" where a file by another hand does not tell."""
    told = (comparison.advice or {}).get("confidence")
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told <= 1:
        return ""
    return f" ({told:.0%} sure)"


def _after(revised: Revised) -> str:
    """What is advised now, and what that rests on."""
    verb = "stays" if revised.after == revised.before else "becomes"
    if revised.basis == "argued":
        return (f"By the rules it {verb} {revised.after} ({revised.confidence:.0%} sure), for the "
                "comparison does not decide it.")
    return f"As measured it {verb} {revised.after}{'' if revised.decided else ', still open'}."
