"""Conditions that a comparison has to meet, such as "both token_f1 >= rag + 0.02"."""

from __future__ import annotations

import dataclasses
import difflib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from phi3kit.compare.formats import Formats
from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.measurable import NEEDS, measurable
from phi3kit.compare.metrics import METRICS, bounds_of
from phi3kit.compare.needed import documents_needed
from phi3kit.compare.seeds import parts
from phi3kit.compare.sets import MACRO_F1
from phi3kit.errors import SettingsError
from phi3kit.records import ARMS, Arm, Comparison, Gate, Interval, Question

_NUMBER = r"\d+(?:\.\d+)?|\.\d+"
_CONDITION = re.compile(
    rf"(?P<arm>[a-z-]+)\s+(?P<metric>\w+)\s*(?P<sign>>=|<=|>|<)\s*"
    rf"(?:(?P<number>-?(?:{_NUMBER}))"
    rf"|(?P<other>[a-z][a-z-]*?)(?:\s*(?P<step>[+-])\s*(?P<margin>{_NUMBER}))?)")
_FORM = 'Write it as "both token_f1 >= 0.3" or "both token_f1 >= rag + 0.02"'
_MEETS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class Condition:
    """A gate as it was read.

    Attributes:
        text: as it was given, with single spaces.
        other: the arm that it is held against; None when against `limit` alone.
        limit: what the metric, or its difference from `other`, is held against.
    """

    text: str
    arm: Arm
    metric: str
    sign: str
    other: Arm | None
    limit: float


def read_gate(text: str, arms: Sequence[Arm]) -> Condition:
    """The condition in `text`: arm, metric, a comparison sign, then a number or another arm.

    Another arm may have a margin: "rag + 0.02", "base - 0.1".

    Args:
        text: what the user gave.
        arms: those that run.

    Raises:
        SettingsError: not of that form; an unknown metric; an arm that does not run.
    """
    text = " ".join(text.split())
    found = _CONDITION.fullmatch(text)
    where = _where(text)
    if found is None:
        raise SettingsError("this is no condition", where=where, mend=_FORM)
    metric, other = found["metric"], found["other"]
    _refuse_unknown(metric, where)
    if other and metric == MACRO_F1:
        raise SettingsError(f"{MACRO_F1} has no value per answer, so that arms cannot be paired",
                            where=where, mend="Hold it against a number, or take label_accuracy")
    limit = float(found["number"] or f"{found['step'] or ''}{found['margin'] or 0}")
    arm = _running(found["arm"], arms, where)
    against = _running(other, arms, where) if other else None
    if against == arm:
        raise SettingsError(f"{arm} is held against itself", where=where, mend=_FORM)
    return Condition(text, arm, metric, found["sign"], against, limit)


def _where(text: str) -> str:
    """A gate's place: it comes by a flag or from the file, and its text tells which it is."""
    return f'compare.gate "{text}"'


def refuse_unmeasured(gates: Sequence[str], arms: Sequence[Arm], questions: Sequence[Question],
                      formats: Formats, *, similarity: bool) -> None:
    """Refuse gates on metrics that no answer of their arm can have, before any is asked for.

    Args:
        gates: conditions that `read_gate` reads.
        arms: those that run.
        questions: the held-out ones.
        formats: what their `format` can name.
        similarity: whether it is measured.

    Raises:
        SettingsError: names the gate and what the metric takes.
    """
    for text in gates:
        condition = read_gate(text, arms)
        for arm in (condition.arm, condition.other):
            if arm is not None and condition.metric not in measurable(
                    arm, questions, formats, similarity=similarity):
                raise SettingsError(
                    f"no answer of {arm} can have {condition.metric}, which takes "
                    f"{NEEDS[condition.metric]}", where=_where(condition.text),
                    mend="Take another metric or arm, or give it what it takes")


def _refuse_unknown(metric: str, where: str) -> None:
    names = (*METRICS, MACRO_F1)
    if metric not in names:
        near = difflib.get_close_matches(metric, names, n=1)
        raise SettingsError(f"there is no metric {metric!r}", where=where, mend=(
            f"Did you mean {near[0]!r}?" if near else f"Take one of {', '.join(names)}"))


def _running(name: str, arms: Sequence[Arm], where: str) -> Arm:
    arm = next((arm for arm in ARMS if arm == name), None)
    if arm is None:
        raise SettingsError(f"there is no arm {name!r}", where=where,
                            mend=f"Take one of {', '.join(arms)}")
    if arm not in arms:
        raise SettingsError(f"{arm} does not run", where=where,
                            mend="Add it to --arms, or drop the gate")
    return arm


def with_gates(comparison: Comparison, gates: Sequence[str], method: Method) -> Comparison:
    """The comparison with the outcome of `gates`; it is itself without any."""
    if not gates:
        return comparison
    arms: list[Arm] = [arm.arm for arm in (  # type: ignore[misc]
        *comparison.arms, *comparison.diagnostics)]
    conditions = [read_gate(text, arms) for text in gates]
    return dataclasses.replace(comparison, gates=judge_gates(comparison, conditions, method))


def judge_gates(comparison: Comparison, conditions: Sequence[Condition],
                method: Method) -> tuple[Gate, ...]:
    """What became of each condition, by its interval at the method's level.

    "passed" when the whole interval meets it, "failed" when none of it does, else
    "undecided". Against another arm the value is the difference, paired by question. Several
    gates are not adjusted for one another: all of them have to hold, which errs on the safe
    side for "passed". An interval of no width, for all values are alike, says nothing before
    there are as many documents as a verdict takes: until then it is all that could be.

    Raises:
        SettingsError: a metric that the arm's answers do not have.
    """
    return tuple(_judge(comparison, condition, method) for condition in conditions)


def _judge(comparison: Comparison, condition: Condition, method: Method) -> Gate:
    value = _value(comparison, condition, method)
    meets = _MEETS[condition.sign]
    few = _too_few(comparison, condition, value)
    ends = _bounds(condition) if few else (value.low, value.high)
    held = [meets(end, condition.limit) for end in ends]
    outcome: Literal["passed", "failed", "undecided"] = (
        "passed" if all(held) else "undecided" if any(held) else "failed")
    what = f"{condition.arm} {condition.metric}" + (
        f" minus that of {condition.other}" if condition.other else "")
    return Gate(condition.text, value, outcome, (
        f"{condition.text}. {what} is {value.mean:.3f} ({method.confidence * 100:g}% interval "
        f"{_end(value.low)} to {_end(value.high)}){few}."))


def _end(value: float) -> str:
    """Three decimals; no end is "∞"."""
    return f"{value:.3f}".replace("inf", "∞")


def _too_few(comparison: Comparison, condition: Condition, value: Interval) -> str:
    """That values which are all alike are of too few documents; "" where they are not."""
    if value.low < value.high:
        return ""
    metric = "label_accuracy" if condition.metric == MACRO_F1 else condition.metric
    there = {row.cluster for row in comparison.rows
             if row.arm == condition.arm and metric in row.metrics}
    needed = documents_needed(len(comparison.differences), comparison.confidence)
    if len(there) >= needed:
        return ""
    return f" on {len(there)} documents, and alike on fewer than {needed} says nothing"


def _value(comparison: Comparison, condition: Condition, method: Method) -> Interval:
    if condition.other is None:
        summary = next(arm for arm in (*comparison.arms, *comparison.diagnostics)
                       if arm.arm == condition.arm)
        if condition.metric not in summary.metrics:
            raise _nothing(condition, condition.arm)
        return summary.metrics[condition.metric]
    own, others = (_by_question(comparison, arm, condition)
                   for arm in (condition.arm, condition.other))
    pairs = [(cluster, worth - others[key][1])
             for key, (cluster, worth) in own.items() if key in others]
    if not pairs:
        raise SettingsError(f"no question has {condition.metric} for both arms",
                            where=_where(condition.text), mend="Take another metric")
    return interval(pairs, method, bounds=_bounds(condition), seeds=parts(comparison.seeds, [
        (condition.arm, condition.metric, 1.0), (condition.other, condition.metric, -1.0)]))


def _bounds(condition: Condition) -> tuple[float, float]:
    """What the value could be at least and at most."""
    low, high = bounds_of(condition.metric)
    return (low, high) if condition.other is None else (low - high, high - low)


def _by_question(comparison: Comparison, arm: Arm,
                 condition: Condition) -> dict[str, tuple[str, float]]:
    """(cluster, score) by question."""
    found = {row.question_id: (row.cluster, row.metrics[condition.metric])
             for row in comparison.rows if row.arm == arm and condition.metric in row.metrics}
    if not found:
        raise _nothing(condition, arm)
    return found


def _nothing(condition: Condition, arm: Arm) -> SettingsError:
    return SettingsError(f"no answer of {arm} has {condition.metric}",
                         where=_where(condition.text), mend="Take another metric or arm")
