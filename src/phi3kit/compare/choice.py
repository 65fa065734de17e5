"""The choice by the user's weights, how sure it is, and which weights would change it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from phi3kit.compare.criteria import Measured, measure, monthly
from phi3kit.compare.intervals import Method, effective_clusters
from phi3kit.compare.method import method_of
from phi3kit.errors import RunError, SettingsError
from phi3kit.records import CRITERIA, Choice, Comparison, Criterion, Option, Standing, Switch

_TOKENS = ("Cost is counted in tokens of prompts and answers, for what a month costs is not known "
           "of every option (compare.questions_per_month and the prices beside it).")
# Shares of weight nearer than this are one point: what is left is rounding.
_SAME = 1e-9


def read_weights(text: str) -> dict[Criterion, float]:
    """The weights in "quality=2,latency=1"; a criterion that is not named weighs nothing.

    Raises:
        SettingsError: an unknown criterion, one named twice, or a weight that is no number.
    """
    found: dict[Criterion, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (piece.strip() for piece in part.partition("="))
        known = next((criterion for criterion in CRITERIA if criterion == name), None)
        if known is None or known in found:
            raise SettingsError(f"{name!r} stands twice" if known else
                                f"{name!r} is no criterion", where="--weights", mend=_FORM)
        try:
            found[known] = float(value)
        except ValueError as error:
            raise SettingsError(f"{value!r} is no weight for {name}", where="--weights",
                                mend=_FORM) from error
    if not found:
        raise SettingsError("nothing has a weight", where="--weights", mend=_FORM)
    return check_weights(found, where="--weights")


_FORM = f"Write it as quality=2,latency=1; the criteria are {', '.join(CRITERIA)}"


def check_weights(weights: Mapping[Criterion, float], *,
                  where: str = "compare.weights") -> dict[Criterion, float]:
    """`weights` as they are, without those that are 0.

    Raises:
        SettingsError: a weight below 0 or not finite; weights given, and none above 0.
    """
    for name, value in weights.items():
        if not (math.isfinite(value) and value >= 0):
            raise SettingsError(f"{value:g} is no weight for {name}", where=where,
                                mend="Give 0 or more")
    heavy = {name: value for name, value in weights.items() if value > 0}
    if weights and not heavy:
        raise SettingsError("nothing has a weight", where=where, mend=_FORM)
    return heavy


def as_text(weights: Mapping[Criterion, float]) -> str:
    """What `read_weights` reads; "" where they ask for nothing but quality."""
    heavy = check_weights(weights)
    if not set(heavy) - {"quality"}:
        return ""
    return ",".join(f"{name}={str(heavy[name]).removesuffix('.0')}"
                    for name in CRITERIA if name in heavy)


def with_choice(comparison: Comparison) -> Comparison:
    """The comparison with the choice by the weights in its conditions, where it has any.

    Made anew whenever a comparison is read, for a clock decides the latency in it.

    Raises:
        RunError: the weights there are none: the run was edited.
    """
    text = comparison.conditions.get("weights")
    if not text:
        return comparison
    try:
        weights = read_weights(str(text))
    except SettingsError as error:
        raise RunError(f"the weights in result.json cannot be used ({error.what})",
                       where=comparison.run, mend="Run phi3kit compare again") from error
    return dataclasses.replace(comparison, choice=choose(comparison, weights))


def choose(comparison: Comparison, weights: Mapping[Criterion, float]) -> Choice:
    """The option with the highest utility, if it is ahead of every other beyond doubt.

    Utility is the weighted mean of the parts that `criteria.measure` gives. For each pair of
    options the documents are drawn again, and the share of draws in which the lead is gone
    becomes a p-value as in the intervals of `intervals.interval`: Hesterberg's correction for
    few documents, read backwards. Holm's step over all pairs follows, as in the verdict.

    Args:
        comparison: with its rows, and with freshness and costs where they were measured.
        weights: by criterion, 0 or more; some above 0.
    """
    method = method_of(comparison)
    wanted = [name for name in CRITERIA if weights.get(name, 0.0) > 0]
    found = measure(comparison, wanted, method)
    if not found.names:
        return Choice({}, None, (), (), "Not decidable by the weights: nothing that has one was "
                      "measured.", found.left_out)
    total = sum(weights[name] for name in found.names)
    shares = {name: weights[name] / total for name in found.names}
    utilities = found.parts.transpose(0, 2, 1) @ list(shares.values())
    arms = [_option(arm.arm) for arm in comparison.arms]
    standings = _standings(arms, found, utilities)
    if found.names == ("quality",):
        chosen = comparison.verdict.winner
    else:
        chosen = _chosen(utilities, arms, standings[0].arm, found.questions, method)
    return Choice(shares, chosen, standings, _switches(shares, standings),
                  _sentence(chosen, shares, standings), found.left_out,
                  (_TOKENS,) if "cost" in shares and monthly(comparison) is None else ())


def _option(arm: str) -> Option:
    return arm  # type: ignore[return-value]  # only options stand among Comparison.arms


def _standings(arms: Sequence[Option], found: Measured, utilities: Any) -> tuple[Standing, ...]:
    top = utilities[1:] == utilities[1:].max(axis=1, keepdims=True)
    likely = (top / top.sum(axis=1, keepdims=True)).mean(axis=0)  # a tie is shared
    unsorted = [Standing(
        arm, {name: float(found.parts[0, row, place]) for row, name in enumerate(found.names)},
        float(utilities[0, place]), float(likely[place])) for place, arm in enumerate(arms)]
    return tuple(sorted(unsorted, key=lambda standing: -standing.utility))


def _chosen(utilities: Any, arms: Sequence[Option], best: Option, questions: Any,
            method: Method) -> Option | None:
    from statsmodels.stats.multitest import multipletests

    pairs = list(itertools.combinations(range(len(arms)), 2))
    adjusted = multipletests([_p(utilities[:, a] - utilities[:, b], questions)
                              for a, b in pairs], method="holm")[1]
    place = arms.index(best)
    ahead = all(p < 1 - method.confidence
                for pair, p in zip(pairs, adjusted, strict=True) if place in pair)
    return best if ahead else None


def _p(lead: Any, questions: Any) -> float:
    """Two-sided p-value of a lead as seen (first) from its draws; 1 with one document.

    `questions` tells how many each document has: unequal ones leave Student's t fewer degrees
    of freedom.

    One draw more than there were is counted as a lost lead, so that it is never 0.
    """
    from scipy import stats

    clusters = len(questions)
    if clusters < 2 or lead[0] == 0:
        return 1.0
    drawn = lead[1:] if lead[0] > 0 else -lead[1:]
    lost = (float((drawn <= 0).sum()) + 1) / (len(drawn) + 1)
    corrected = stats.norm.isf(min(lost, 0.5)) * math.sqrt((clusters - 1) / clusters)
    return float(2 * stats.t.sf(corrected, effective_clusters(questions) - 1))


def _switches(shares: Mapping[Criterion, float],
              standings: Sequence[Standing]) -> tuple[Switch, ...]:
    """Where the leader changes, going up and going down from each criterion's share."""
    found = []
    for name, now in shares.items():
        if now > 1 - _SAME:
            continue  # with nothing beside it there are no proportions to keep
        lines = {s.arm: _line(name, now, s) for s in standings}
        for end in (1.0, 0.0):
            crossed = _first_crossing(lines, standings[0].arm, now, end)
            if crossed is not None:
                found.append(_switch(name, now, standings[0].arm, *crossed, up=end > now))
    return tuple(found)


def _line(name: Criterion, now: float, standing: Standing) -> tuple[float, float]:
    """An option's utility with no share of `name`, and with nothing else."""
    part = standing.parts[name]
    return (standing.utility - now * part) / (1 - now), part


def _first_crossing(lines: Mapping[Option, tuple[float, float]], leader: Option, now: float,
                    end: float) -> tuple[float, Option] | None:
    """The share nearest to `now`, towards `end`, at which another overtakes, and which one.

    The utilities are straight lines in the share: `without + share * (alone - without)`. Of
    several that overtake at one point, the one that is highest beyond it does.
    """
    without, alone = lines[leader]
    crossings = []
    for arm, (low, high) in lines.items():
        slope = (high - low) - (alone - without)
        gains = slope * (end - now) > 0
        if arm == leader or not gains:
            continue
        at = (without - low) / slope
        if min(now, end) - _SAME <= at <= max(now, end) + _SAME and abs(at - end) > _SAME:
            crossings.append((round(abs(at - now), 9), -abs(slope), min(1.0, max(0.0, at)), arm))
    if not crossings:
        return None
    _, _, at, arm = min(crossings)
    return at, arm


def _switch(name: Criterion, now: float, leader: Option, at: float, then: Option, *,
            up: bool) -> Switch:
    sentence = (f"{leader} stays ahead until {name} weighs {'more' if up else 'less'} than "
                f"{_share(at, now)} of all (now {now:.2f}); then {then} is.")
    return Switch(name, now, at, then, sentence)


def _share(at: float, now: float) -> str:
    """Two decimals, or as many more as it takes to tell it from `now`."""
    return next((f"{at:.{n}f}" for n in (2, 3, 4) if f"{at:.{n}f}" != f"{now:.{n}f}"),
                f"{at:.4f}")


def _sentence(chosen: Option | None, shares: Mapping[Criterion, float],
              standings: Sequence[Standing]) -> str:
    best, second = standings[0], standings[1]
    weights = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    ahead = f"{best.arm} has {best.utility:.2f} of 1, {second.arm} {second.utility:.2f}"
    if chosen is None:
        return (f"By the weights ({weights}) the choice is not decidable: {ahead}, and the lead "
                "may be chance.")
    return f"By the weights ({weights}) the choice is {chosen}: {ahead}."
