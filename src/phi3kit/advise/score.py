"""From answers to advice: an additive score, every term of which is a rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from phi3kit.advise.at_hand import AtHand
from phi3kit.advise.commands import TUNED, preparing, to_do
from phi3kit.advise.comparison import take_in, to_do_first
from phi3kit.advise.costs import costs
from phi3kit.advise.method import choose_method
from phi3kit.advise.rules import Condition, Grade, Rule, Rules, load_rules
from phi3kit.advise.scenario import FIELDS, check_answers, word
from phi3kit.advise.sensitivity import missing, reversals
from phi3kit.advise.settle import in_question, settle
from phi3kit.records import OPTIONS, Advice, Comparison, Measured, Option, Reason


def advise(answers: Mapping[str, Any], rules: Rules | None = None, *,
           at_hand: AtHand | None = None, measured: Sequence[Measured] = (),
           comparison: Comparison | None = None) -> Advice:
    """The advice for a scenario, however few of its questions are answered.

    Args:
        answers: field to value; None and absent fields are unknown.
        rules: None: the packaged rule base.
        at_hand: what costs are counted for and commands are written with; None: the defaults.
        measured: where answers were found in the user's data, for the record; `answers` has
            them already.
        comparison: a finished one; what it measured goes before what the rules argue.

    Raises:
        DataError: an unknown field or a value that it does not allow.
        RunError: the comparison's run folder is gone.
    """
    rules = rules or load_rules()
    known = check_answers(answers)
    at_hand = (at_hand or AtHand()).meant_by(known)
    if comparison is not None:
        at_hand = at_hand.after(comparison)
    advice = _argue(rules, known, at_hand)
    if comparison is not None:
        advice = take_in(advice, comparison, at_hand)
    return _complete(replace(advice, measured=tuple(measured)), known, at_hand)


def _argue(rules: Rules, known: Mapping[str, Any], at_hand: AtHand) -> Advice:
    """What the rules say, without what it takes to do it."""
    scores = score(rules, known)
    first = best(scores)
    sure = confidence(rules, scores)
    conflicts = contradictions(known)
    decided = sure >= rules.confidence.decided_from and not conflicts
    return Advice(
        recommendation=first, confidence=round(sure, 4), decided=decided,
        scores={option: round(value, 6) for option, value in scores.items()},
        reasons=_reasons(rules, known, first),
        reverse_when=reversals(lambda changed: best(score(rules, changed)), known),
        missing=missing(lambda changed: score(rules, changed), known),
        scenario={field.name: known.get(field.name) for field in FIELDS},
        contradictions=conflicts, rules_sha256=rules.sha256,
        settle=None if decided else settle(in_question(scores, rules.confidence), at_hand))


def _complete(advice: Advice, known: Mapping[str, Any], at_hand: AtHand) -> Advice:
    """The advice with how to tune, what the options in question cost, and what to run."""
    first, open_question = advice.recommendation, advice.settle
    tuning = choose_method(known, at_hand)
    tuned = first in TUNED
    if open_question is None:
        options: tuple[Option, ...] = (to_do_first(advice),)
        commands = to_do(options[0], tuning, known, at_hand)
    else:
        options = open_question.arms
        commands = (*preparing(options, tuning, known, at_hand), open_question.command)
    return replace(advice, method=tuning.method if tuned else None,
                   method_why=tuning.why if tuned else "", next=commands,
                   costs=costs(options, tuning, known, at_hand))


def score(rules: Rules, answers: Mapping[str, Any]) -> dict[Option, float]:
    """The share of every option: softmax of the start plus the weighted rules that fire."""
    sums = list(rules.start)
    for rule in rules:
        grade = rule.grade(answers)
        if grade is not None:
            for i, effect in enumerate(grade.effects):
                sums[i] += rule.weight * effect
    top = max(sums)
    shares = [math.exp(value - top) for value in sums]
    total = math.fsum(shares)
    return {option: share / total for option, share in zip(OPTIONS, shares, strict=True)}


def best(scores: Mapping[Option, float]) -> Option:
    """The option with the largest share; the simpler one of equals."""
    return max(OPTIONS, key=lambda option: scores[option])


def margin(scores: Mapping[Option, float]) -> float:
    """The best share minus the second, 0 to 1."""
    ordered = sorted(scores.values(), reverse=True)
    return ordered[0] - ordered[1]


def confidence(rules: Rules, scores: Mapping[Option, float]) -> float:
    """How often advice with this margin was acceptable in the published cases, 0 to 1."""
    at = rules.confidence
    return 1.0 / (1.0 + math.exp(-(at.intercept + at.slope * margin(scores))))


def contradictions(answers: Mapping[str, Any]) -> tuple[str, ...]:
    """Answers that cannot both be true, one sentence each."""
    found = []
    if answers.get("facts_in_request") == "yes" and answers.get("external_facts") == "essential":
        found.append("facts_in_request = yes and external_facts = essential: the facts are "
                     "either in the request or outside it; answer 'partly' when some are in it")
    if answers.get("training_examples") == 0 and answers.get("dataset_quality") in (
            "medium", "high"):
        found.append(f"training_examples = 0 and dataset_quality = "
                     f"{answers['dataset_quality']}: there is no dataset to be good")
    return tuple(found)


def _reasons(rules: Rules, answers: Mapping[str, Any], chosen: Option) -> tuple[Reason, ...]:
    """The rules that fired, those that speak most for or against `chosen` first."""
    fired: list[tuple[float, Reason]] = []
    for rule in rules:
        grade = rule.grade(answers)
        if grade is None:
            continue
        effects = [rule.weight * effect for effect in grade.effects]
        if not any(effects):
            continue
        mean = math.fsum(effects) / len(effects)
        # Only differences between options count; the common part cancels in the softmax.
        pull = effects[OPTIONS.index(chosen)] - mean
        fired.append((pull, _reason(rules, rule, grade, effects, answers)))
    fired.sort(key=lambda item: -item[0])
    return tuple(reason for _, reason in fired)


def _reason(rules: Rules, rule: Rule, grade: Grade, effects: Sequence[float],
            answers: Mapping[str, Any]) -> Reason:
    return Reason(
        rule=rule.id, statement=rule.statement,
        effects={o: round(e, 3) for o, e in zip(OPTIONS, effects, strict=True)},
        because=tuple(_because(test, answers) for test in grade.tests),
        source=rule.source, evidence=evidence_lines(rules, rule))


def _because(test: Condition, answers: Mapping[str, Any]) -> str:
    return f"{test.field} = {word(answers[test.field])}"


def evidence_lines(rules: Rules, rule: Rule) -> tuple[str, ...]:
    """The rule's published cases, "for: …" first, then "against: …"."""
    return tuple(f"{side}: {rules.cases[case]}" for side, cases in (
        ("for", rule.supporting), ("against", rule.against)) for case in cases)
