"""What follows from a comparison's differences: effects, power, a choice by weights, a gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from phi3kit.records.common import Interval, Option

Criterion = Literal["quality", "latency", "cost", "transparency", "freshness"]
CRITERIA: tuple[Criterion, ...] = ("quality", "latency", "cost", "transparency", "freshness")


@dataclass(frozen=True, slots=True)
class Effect:
    """What retrieving or tuning adds on the deciding metric, from base, rag, finetune and both.

    Attributes:
        name: "retrieval" and "tuning" are averages over the other factor's two levels;
            "interaction" is both - rag - finetune + base: above 0 the two add more together
            than each alone.
        difference: its mean with the interval, in the metric's units.
        p: two-sided, not adjusted.
        sentence: that in words.
    """

    name: Literal["retrieval", "tuning", "interaction"]
    difference: Interval
    p: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Discordance:
    """McNemar's exact test for a yes/no metric; it takes questions for independent.

    Attributes:
        only_a, only_b: questions that one arm alone has right.
        both, neither: the others.
        p: two-sided, not adjusted.
    """

    a: str
    b: str
    metric: str
    only_a: int
    only_b: int
    both: int
    neither: int
    p: float


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest true difference that a comparison of this size would find.

    Attributes:
        a, b: the pair of arms; a leads.
        difference: in the deciding metric's units; None when there are too few documents.
        power: how often it would be found, such as 0.8.
    """

    a: str
    b: str
    difference: float | None
    power: float


@dataclass(frozen=True, slots=True)
class Standing:
    """One option by the user's weights.

    Attributes:
        parts: 0 (worst) to 1 (best) for each criterion that has a weight.
        utility: their weighted mean.
        likely_best: how often it has the highest utility when the documents are drawn again.
    """

    arm: Option
    parts: Mapping[Criterion, float]
    utility: float
    likely_best: float


@dataclass(frozen=True, slots=True)
class Switch:
    """The share of all weight at which a criterion makes another option the choice.

    Attributes:
        at: 0 to 1, the others keeping their proportions; `now` is its share today.
        then: the choice beyond it.
    """

    criterion: Criterion
    now: float
    at: float
    then: Option
    sentence: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The decision by the user's weights.

    Attributes:
        weights: share of each criterion, summing to 1.
        chosen: None when the options cannot be told apart by them.
        standings: best first.
        switches: where another share of a criterion changes the choice.
        left_out: criteria with a weight that nothing measured, and why.
        notes: how a criterion was counted, where that is not what its name says.
    """

    weights: Mapping[Criterion, float]
    chosen: Option | None
    standings: tuple[Standing, ...]
    switches: tuple[Switch, ...]
    sentence: str
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition that a comparison has to meet, for continuous integration.

    Attributes:
        condition: as it was given.
        value: what it is about, with its interval.
        outcome: "passed" when the whole interval meets it, "failed" when none of it does.
    """

    condition: str
    value: Interval
    outcome: Literal["passed", "failed", "undecided"]
    sentence: str
