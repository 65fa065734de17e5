"""The recommendation with all that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from phi3kit.records.common import Interval, Option


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule that fired, and what it did.

    Attributes:
        rule: the rule's id in rules.yaml.
        statement: what the rule says, in one sentence.
        effects: signed effect on each option's score.
        because: the answers that triggered it, as "field = value".
        source: where the rule comes from.
        evidence: published cases for and against it, one line each.
    """

    rule: str
    statement: str
    effects: Mapping[str, float]
    because: tuple[str, ...]
    source: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reversal:
    """The smallest change of answers that flips the recommendation."""

    changes: tuple[str, ...]
    recommendation: Option


@dataclass(frozen=True, slots=True)
class Missing:
    """An unanswered question and how much it could move the advice (0 to 1)."""

    field: str
    question: str
    weight: float


@dataclass(frozen=True, slots=True)
class Measured:
    """An answer that was found in the user's own data instead of being asked.

    Attributes:
        field: the question's name.
        value: what the data says.
        how: how it was found, with the figures, in a sentence.
        given: the user's own answer, which goes before; None when there is none.
    """

    field: str
    value: Any
    how: str
    given: Any = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What an option takes, before it is tried.

    Attributes:
        option: the option that takes it.
        what: "memory to train", "time to train", "prompt tokens for passages", …
        low, expected, high: in `unit`; all equal where nothing is uncertain.
        how: what the figures rest on, in a sentence.
    """

    option: Option
    what: str
    low: float
    expected: float
    high: float
    unit: str
    how: str


@dataclass(frozen=True, slots=True)
class Settle:
    """The comparison that would settle an undecided advice.

    Attributes:
        arms: the options that it has to tell apart, the likeliest first.
        questions: about how many questions that takes.
        difference: the difference in score that so many questions show.
        command: what to run.
        how: where the number of questions comes from, in a sentence.
    """

    arms: tuple[Option, ...]
    questions: int
    difference: float
    command: str
    how: str


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A finished comparison as the advice takes it in.

    Attributes:
        winner: the option that beat the others, or was enough; None when not decidable.
        contenders: the options that could not be told apart from the best, best first.
        arms: the deciding metric of every option that ran.
        argued: what the rules alone recommend.
        requirements: what the user requires and a comparison of answers does not measure
            (sources, fresh facts, …), where the measured options lack it; one line each.
    """

    run: str
    metric: str
    winner: Option | None
    contenders: tuple[Option, ...]
    arms: Mapping[str, Interval]
    questions: int
    clusters: int
    argued: Option
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """The advice for a scenario. Field names are public: `advise --json` prints them.

    Attributes:
        confidence: 0 to 1, how often advice with this margin was acceptable.
        decided: False when only measuring can tell.
        scores: every option, 0 to 1, summing to 1.
        method: "lora" or "qlora", when tuning is part of the recommendation.
        contradictions: answers that cannot both be true.
        next: the exact commands to run next.
        basis: "argued" from the rules, or "measured" by a finished comparison.
        measured: answers that were found in the user's data.
        costs: what the options that are in question take.
        settle: the comparison that would settle it; None when decided.
        comparison: the finished comparison that was taken in, if any.
    """

    recommendation: Option
    confidence: float
    decided: bool
    scores: Mapping[str, float]
    reasons: tuple[Reason, ...]
    reverse_when: tuple[Reversal, ...]
    missing: tuple[Missing, ...]
    scenario: Mapping[str, Any]
    method: Literal["lora", "qlora"] | None = None
    method_why: str = ""
    contradictions: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    rules_sha256: str = ""
    basis: Literal["argued", "measured"] = "argued"
    measured: tuple[Measured, ...] = ()
    costs: tuple[Cost, ...] = ()
    settle: Settle | None = None
    comparison: MeasuredRun | None = None
