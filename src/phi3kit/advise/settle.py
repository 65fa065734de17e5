"""What would settle an undecided advice: which options, how many questions, which command."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from phi3kit.advise.at_hand import AtHand
from phi3kit.advise.commands import compare
from phi3kit.advise.rules import Confidence
from phi3kit.advise.sample_size import POWER, questions_for
from phi3kit.records import OPTIONS, Option, Settle

# A difference in the mean score that is worth knowing: one answer in ten.
WORTH_KNOWING = 0.1
# Standard deviation of the differences between two options, question by question, on a score
# of 0 to 1. In comparisons of the sample data (docs/measured/demo.json is one: 169 questions
# about 62 documents) the six pairs have 0.11 to 0.65, read back from the intervals of their
# differences, so that questions which share a document are allowed for. The widest, rounded up.
SPREAD = 0.7


def in_question(scores: Mapping[Option, float], at: Confidence) -> tuple[Option, ...]:
    """The options that the best cannot be told from, the likeliest first; two at least.

    Told apart is an option that would be behind by the margin from which advice counts as
    decided, were it and the best one the only options: (best - it) / (best + it).
    """
    ordered = sorted(OPTIONS, key=lambda option: -scores[option])
    best, least = scores[ordered[0]], least_margin(at)
    close = [option for option in ordered
             if best - scores[option] < least * (best + scores[option])]
    return tuple(ordered[:max(2, len(close))])


def least_margin(at: Confidence) -> float:
    """The margin between best and second from which advice counts as decided.

    The calibration `confidence = 1 / (1 + exp(-(intercept + slope · margin)))`, turned round.
    """
    wanted = math.log(at.decided_from / (1 - at.decided_from))
    return (wanted - at.intercept) / at.slope


def settle(arms: Sequence[Option], at_hand: AtHand) -> Settle:
    """The comparison that tells `arms` apart.

    Args:
        arms: two or more options, the likeliest first.
        at_hand: level of the verdict, and names for the command.
    """
    level = at_hand.settings.compare.confidence
    pairs = math.comb(len(arms), 2)
    questions = math.ceil(questions_for(WORTH_KNOWING, SPREAD, confidence=level, pairs=pairs))
    among = "" if pairs == 1 else f" over {pairs} pairs of options (Holm)"
    return Settle(
        arms=tuple(arms), questions=questions, difference=WORTH_KNOWING,
        command=compare(arms, at_hand),
        how=f"Paired by question, at {level * 100:g}% confidence{among} and {POWER:.0%} power, "
            f"with a standard deviation of the differences of {SPREAD:g}, the widest seen on "
            "the sample data; options twice as far apart take a quarter of them.")
