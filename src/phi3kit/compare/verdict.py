"""From means and differences to a verdict: who wins, or that it is not decidable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from phi3kit.compare import sentence
from phi3kit.compare.enough import enough, simpler
from phi3kit.compare.needed import all_needed
from phi3kit.compare.statistics import between
from phi3kit.records import ArmSummary, Difference, Option, Verdict

Outcome = Literal["confirmed", "refuted", "undecided"]


def decide(arms: Sequence[ArmSummary], found: Sequence[Difference], *, metric: str,
           confidence: float, clusters: int, effective: float | None = None,
           prediction: Option | None = None, margin: float = 0.0) -> Verdict:
    """The verdict on a finished comparison.

    An arm wins when it beats every other one at the given confidence, after Holm's adjustment;
    with a margin, the simplest one that is shown to be behind none by so much wins before it.
    The prediction is refuted when some arm beats the predicted one, or is enough without it,
    confirmed when the predicted one wins, undecided otherwise.

    Args:
        arms: two or more that can win.
        found: every pair's difference.
        metric: what decides.
        confidence: 0 to 1, of the intervals in `found`.
        clusters: source documents.
        effective: how many of one size they are worth; None: all have as many questions.
        prediction: what was advised.
        margin: a lead that is not worth another part.
    """
    alpha = 1 - confidence
    ranked = sorted(arms, key=lambda arm: -arm.metrics[metric].mean)
    best = ranked[0].arm
    rivals = [arm.arm for arm in ranked[1:] if not _beats(best, arm.arm, found, alpha)]
    needed = None
    winner = enough([cast(Option, arm.arm) for arm in ranked], found, margin)
    if winner is not None and (winner != best or rivals):
        said = sentence.enough(winner, [arm.arm for arm in ranked], found, margin, confidence)
    elif rivals:
        needed = all_needed([between(best, rival, found) for rival in rivals],
                            questions=ranked[0].questions, clusters=clusters,
                            effective=effective, pairs=len(found), confidence=confidence)
        said = sentence.undecided(best, rivals, found, needed, questions=ranked[0].questions,
                                  clusters=clusters, confidence=confidence)
    else:
        winner = cast(Option, best)
        said = sentence.decided(ranked, found, metric, confidence)
    return Verdict(winner=winner, contenders=(best, *rivals), metric=metric,
                   prediction=prediction,
                   outcome=_outcome(prediction, winner, [arm.arm for arm in arms], found, alpha),
                   sentence=said, questions_needed=needed, margin=margin)


def _beats(a: str, b: str, found: Sequence[Difference], alpha: float) -> bool:
    item = between(a, b, found)
    return item.p < alpha and item.difference.mean > 0


def _outcome(prediction: Option | None, winner: Option | None, arms: Sequence[str],
             found: Sequence[Difference], alpha: float) -> Outcome | None:
    if prediction is None:
        return None
    if prediction not in arms:
        return "undecided"
    if winner == prediction:
        return "confirmed"
    beaten = any(_beats(arm, prediction, found, alpha) for arm in arms if arm != prediction)
    needless = winner is not None and simpler(winner, prediction)
    return "refuted" if beaten or needless else "undecided"
