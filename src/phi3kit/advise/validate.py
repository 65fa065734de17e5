"""How the rules do on the published cases, beside four baselines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from phi3kit.advise.evidence import Case, load_cases
from phi3kit.advise.fit import (
    RIDGE,
    Outcome,
    calibrate,
    cross_validate,
    fit_weights,
    judge,
    log_loss,
    with_weights,
)
from phi3kit.advise.rules import Rules, load_rules
from phi3kit.advise.score import confidence, contradictions
from phi3kit.records import OPTIONS, Option

# What was tried; the larger, the nearer to the hand-set weights.
RIDGES = (1.0, 3.0, 10.0, 30.0)
SIGN_RIDGES = (0.3, 1.0, 3.0)  # nothing to stay near to: less of a pull
_WANTED_WHEN_DECIDED = 0.95

# The cookbook's rules as it states them, as (field, value, option): one vote each, the option
# with the most votes is advised, rag when none speaks or two are even.
_COOKBOOK: tuple[tuple[str, Any, Option], ...] = (
    ("external_facts", "essential", "rag"),
    ("facts_change", "static", "finetune"),
    ("dataset_quality", "high", "finetune"),
    ("training_examples", 0, "rag"),
    ("citations", "required", "rag"),
    ("facts_change", "monthly", "rag"),
    ("facts_change", "weekly", "rag"),
    ("facts_change", "daily", "rag"),
    ("vocabulary", "high", "finetune"),
    ("multi_document", True, "rag"),
    ("automated_workflow", True, "both"),
)


def validate_rules(rules: Rules | None = None, *, others: bool = True) -> dict[str, Any]:
    """Accuracy, coverage and confusion on the scorable cases, as plain JSON values.

    `accuracy` is the share of cases whose recommendation is acceptable, `decided` the share
    that was decided, `accuracy_decided` the accuracy among those. Every study is judged by
    weights that were fitted to the other studies.

    Args:
        others: fit at other strengths and from bare signs too (half a minute).
    """
    rules = rules or load_rules()
    cases = scorable()
    outcomes = cross_validate(rules, cases, RIDGE)
    return {
        "cases": len(cases), "studies": len({case.group for case in cases}),
        "rules_sha256": rules.sha256,
        "note": ("each study is judged by weights fitted to the others; but who wrote the rules "
                 "had read the cases, those of round 2 before the last changes: expect less of "
                 "unseen ones"),
        "rules": _summary(rules, outcomes),
        "by_round": {f"round {number}": _summary(rules, [
            o for o in outcomes if o.case.round == number])
            for number in sorted({case.round for case in cases})},
        "in_sample": _summary(rules, judge(rules, cases)),
        "unfitted": _plain(judge(with_weights(rules, 1.0), cases)),
        "fitted_cross_validated": {
            f"ridge {ridge:g}": _plain(outcomes if ridge == RIDGE else
                                       cross_validate(rules, cases, ridge))
            for ridge in RIDGES if others or ridge == RIDGE},
        "only_the_signs": _plain(judge(_signs(rules), cases)),
        "signs_fitted_cross_validated": {
            f"ridge {ridge:g}": _plain(cross_validate(_signs(rules), cases, ridge))
            for ridge in (SIGN_RIDGES if others else ())},
        "baselines": {
            "always rag": _constant(cases, "rag"), "always both": _constant(cases, "both"),
            "always finetune": _constant(cases, "finetune"),
            "cookbook rules alone": _accuracy([cookbook(c) in c.acceptable for c in cases])},
        "confusion": confusion(outcomes),
        "wrong": [{"case": o.case.id, "said": o.said, "acceptable": list(o.case.acceptable),
                   "margin": round(o.margin, 3)} for o in outcomes if not o.right],
    }


def refit(rules: Rules | None = None) -> dict[str, Any]:
    """Weights fitted to all scorable cases, and the confidence that held-out margins bear out.

    `decided_from` is the confidence at the smallest margin from which on 95% of the held-out
    advice was acceptable and half of it decided; at the best such share when none reaches it.
    """
    rules = rules or load_rules()
    cases = scorable()
    outcomes = cross_validate(rules, cases, RIDGE)
    intercept, slope = calibrate(outcomes)
    ordered = sorted(outcomes, key=lambda o: -o.margin)
    shares = [(sum(o.right for o in ordered[:n]) / n, ordered[n - 1].margin)
              for n in range(len(ordered) // 2, len(ordered) + 1)]
    good = [at for share, at in shares if share >= _WANTED_WHEN_DECIDED]
    threshold = min(good) if good else max(shares)[1]
    return {
        "confidence": {"intercept": round(intercept, 3), "slope": round(slope, 3),
                       "decided_from": round(1 / (1 + math.exp(-(
                           intercept + slope * (threshold - 0.005)))), 3)},
        "weights": {rule.id: rule.weight for rule in fit_weights(rules, cases, RIDGE)},
    }


def scorable() -> tuple[Case, ...]:
    """The cases in which options contend."""
    return tuple(case for case in load_cases() if case.scorable)


def cookbook(case: Case) -> Option:
    """What the cookbook's nine rules advise, taken at their word, one vote each."""
    votes = dict.fromkeys(OPTIONS, 0)
    for field, value, option in _COOKBOOK:
        given = case.answers.get(field)
        if given is not None and given == value and isinstance(given, bool) == isinstance(
                value, bool):
            votes[option] += 1
    top = max(votes.values())
    leaders = [option for option in OPTIONS if votes[option] == top]
    return leaders[0] if len(leaders) == 1 else "rag"


def confusion(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    """Counts by published winner (outer) and recommendation (inner)."""
    table = {winner: dict.fromkeys(OPTIONS, 0) for winner in OPTIONS}
    for outcome in outcomes:
        table[outcome.case.winner][outcome.said] += 1
    return {winner: {str(o): n for o, n in row.items()} for winner, row in table.items()}


def _summary(rules: Rules, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    decided = [o for o in outcomes
               if confidence(rules, o.scores) >= rules.confidence.decided_from
               and not contradictions(o.case.answers)]
    return {**_plain(outcomes), "decided": round(len(decided) / len(outcomes), 4),
            "accuracy_decided": round(sum(o.right for o in decided) / max(1, len(decided)), 4)}


def _plain(outcomes: Sequence[Outcome]) -> dict[str, float]:
    return {**_accuracy([o.right for o in outcomes]), "log_loss": round(log_loss(outcomes), 4)}


def _accuracy(right: Sequence[bool]) -> dict[str, float]:
    return {"accuracy": round(sum(right) / len(right), 4), "right": sum(right)}


def _constant(cases: Sequence[Case], option: Option) -> dict[str, float]:
    return _accuracy([option in case.acceptable for case in cases])


def _signs(rules: Rules) -> Rules:
    """The rules with every effect cut down to its sign: what is left when no size is chosen."""
    def cut(effects: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        retrieval, tuning = effects[1], effects[2]
        together = effects[3] - retrieval - tuning
        a, b, c = ((value > 0.05) - (value < -0.05) for value in (retrieval, tuning, together))
        return (0.0, 0.5 * a, 0.5 * b, 0.5 * (a + b + c))

    return dataclasses.replace(rules, start=(0.0, 0.0, 0.0, 0.0), rules=tuple(
        dataclasses.replace(rule, weight=1.0, grades=tuple(
            dataclasses.replace(grade, effects=cut(grade.effects)) for grade in rule.grades))
        for rule in rules))
