"""The choice by weights and the gates in words, for all reports."""

from __future__ import annotations

from phi3kit.records import Comparison

_MARKS = {"passed": "Passed", "failed": "Failed", "undecided": "Undecided"}


def choice_sentences(comparison: Comparison) -> list[str]:
    """The choice, its standings, what would switch it, and what was left out; [] without one."""
    choice = comparison.choice
    if choice is None:
        return []
    standings = [
        f"{standing.arm}: {standing.utility:.2f} ("
        + ", ".join(f"{name} {part:.2f}" for name, part in standing.parts.items())
        + f"), ahead in {standing.likely_best:.0%} of draws of the documents."
        for standing in choice.standings]
    return [choice.sentence, *choice.notes, *standings,
            *(switch.sentence for switch in choice.switches),
            *(f"Left out: {why}." for why in choice.left_out)]


def gate_sentences(comparison: Comparison) -> list[str]:
    """Each gate with its outcome first; [] without any."""
    return [f"{_MARKS[gate.outcome]}: {gate.sentence}" for gate in comparison.gates]


def lead(comparison: Comparison) -> str:
    """The decision in a sentence: the choice, then the verdict on quality; or that alone."""
    said = comparison.verdict.sentence
    if comparison.choice is None:
        return said
    return f"{comparison.choice.sentence}\nOn quality alone: {said[:1].lower()}{said[1:]}"


def decided(comparison: Comparison) -> bool:
    """Whether there is an answer: by the weights where there are any, else by the verdict."""
    if comparison.choice is not None:
        return comparison.choice.chosen is not None
    return comparison.verdict.winner is not None


def exit_code(comparison: Comparison) -> int:
    """0, 1 or 3 by the gates where there are any; else 0 decided, 3 not decidable.

    With gates: 1 when one failed, else 3 when one is undecided, else 0.
    """
    outcomes = {gate.outcome for gate in comparison.gates}
    if outcomes:
        return 1 if "failed" in outcomes else 3 if "undecided" in outcomes else 0
    return 0 if decided(comparison) else 3
