"""Fitting the rules' weights to published cases, and the confidence to held-out margins."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi3kit.advise.evidence import Case, by_group
from phi3kit.advise.rules import Rules
from phi3kit.advise.score import best, margin, score
from phi3kit.records import OPTIONS, Option

if TYPE_CHECKING:
    import numpy as np

# Pull of every weight towards 1 in the fit that rules.yaml holds. Of those tried under
# cross-validation it has the best accuracy, and a log loss within 0.01 of the best.
RIDGE = 3.0
_STEP = 0.04
_ROUNDS = 150


@dataclass(frozen=True, slots=True)
class Outcome:
    """Advice for one case: what was said, how clear the margin was, whether it was acceptable."""

    case: Case
    scores: Mapping[Option, float]
    said: Option
    margin: float
    right: bool


def judge(rules: Rules, cases: Sequence[Case]) -> list[Outcome]:
    """What the rules say about each case."""
    found = []
    for case in cases:
        scores = score(rules, case.answers)
        said = best(scores)
        found.append(Outcome(case, scores, said, margin(scores), said in case.acceptable))
    return found


def fit_weights(rules: Rules, cases: Sequence[Case], ridge: float) -> Rules:
    """The rules with weights fitted to `cases`.

    Minimises -sum(log(mass of the acceptable options)) + ridge / 2 * sum((w - 1)^2) over
    w >= 0 by projected gradient descent: a rule may be silenced, never turned around.

    Args:
        ridge: pull of every weight towards the hand-set 1; the larger, the less is fitted.
    """
    import numpy as np

    effects, accepted = _fired(rules, cases)
    start = np.asarray(rules.start)
    weights: np.ndarray = np.ones(len(rules.rules))
    step = _STEP / max(1.0, ridge / 10)
    for _ in range(_ROUNDS):
        sums = start + np.einsum("cro,r->co", effects, weights)
        shares = np.exp(sums - sums.max(axis=1, keepdims=True))
        mass = np.where(accepted, shares, 0.0)
        pulls = (shares / shares.sum(axis=1, keepdims=True)
                 - mass / mass.sum(axis=1, keepdims=True))
        gradient = ridge * (weights - 1.0) + np.einsum("cro,co->r", effects, pulls)
        weights = np.maximum(0.0, weights - step * gradient)
    return dataclasses.replace(rules, rules=tuple(
        dataclasses.replace(rule, weight=round(float(weight), 3))
        for rule, weight in zip(rules, weights, strict=True)))


def _fired(rules: Rules, cases: Sequence[Case]) -> tuple[np.ndarray, np.ndarray]:
    """Effects of each rule in each case, [cases, rules, options], and the acceptable options."""
    import numpy as np

    effects: np.ndarray = np.zeros((len(cases), len(rules.rules), len(OPTIONS)))
    for at, case in enumerate(cases):
        for i, rule in enumerate(rules):
            if grade := rule.grade(case.answers):
                effects[at, i] = grade.effects
    return effects, np.asarray([[o in case.acceptable for o in OPTIONS] for case in cases])


def with_weights(rules: Rules, weight: float) -> Rules:
    """The rules with one weight for all: with 1, as their effects were set by hand."""
    return dataclasses.replace(rules, rules=tuple(
        dataclasses.replace(rule, weight=weight) for rule in rules))


def cross_validate(rules: Rules, cases: tuple[Case, ...], ridge: float) -> list[Outcome]:
    """Every case judged by weights that were fitted without its study."""
    outcomes: list[Outcome] = []
    for group, held_out in by_group(cases).items():
        rest = [case for case in cases if case.group != group]
        outcomes += judge(fit_weights(rules, rest, ridge), held_out)
    return outcomes


def log_loss(outcomes: Sequence[Outcome]) -> float:
    """Mean of -log(mass that the scores put on acceptable options); 0 is best."""
    return -sum(math.log(sum(o.scores[option] for option in o.case.acceptable))
                for o in outcomes) / len(outcomes)


def calibrate(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """(intercept, slope) of the logistic curve from margin to the chance of being right.

    Fitted by Newton's method with two imagined cases, one right and one wrong, at margin 0
    and one right at margin 1, so that few cases cannot make it claim certainty.
    """
    points = [(o.margin, float(o.right)) for o in outcomes] + [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    a = b = 0.0
    for _ in range(50):
        ga = gb = haa = hab = hbb = 0.0
        for x, y in points:
            p = 1.0 / (1.0 + math.exp(-(a + b * x)))
            v = p * (1 - p)
            ga, gb = ga + y - p, gb + (y - p) * x
            haa, hab, hbb = haa + v, hab + v * x, hbb + v * x * x
        det = haa * hbb - hab * hab
        a, b = a + (hbb * ga - hab * gb) / det, b + (haa * gb - hab * ga) / det
    return a, b
