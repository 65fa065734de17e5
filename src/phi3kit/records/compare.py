"""Every option on held-out questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from phi3kit.records.beside import Costs, Freshness, LearningCurve, LossCurve
from phi3kit.records.common import Arm, Interval, Option
from phi3kit.records.decision import Choice, Detectable, Discordance, Effect, Gate


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out question. `answers` is empty when it is unanswerable.

    Attributes:
        format: name of the form that an answer must have, in the file `compare.formats`.
        terms: expressions that a good answer uses.
    """

    id: str
    question: str
    answers: tuple[str, ...] = ()
    source_ids: tuple[str, ...] = ()
    answerable: bool = True
    kind: str = ""
    format: str = ""
    terms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One arm's answer to one question, with everything that the report prints from it.

    Attributes:
        cluster: the source document that the question is grouped under in the statistics.
        metrics: score by metric name, 0 to 1; an error scores 0 everywhere.
        error: why there is no answer; "" when there is one.
        unsupported: numbers of the answer that stand in none of the passages behind it.
        documents: how many documents the question names as holding its answer.
        seed: which of the arm's adapters answered, from 0; they differ in their training's seed.
        withheld: what the model wrote, where `ask.unsupported` made an abstention of it.
    """

    arm: str
    question_id: str
    kind: str
    cluster: str
    question: str
    gold: tuple[str, ...]
    output: str
    abstained: bool
    citations: tuple[str, ...]
    removed_citations: tuple[int, ...]
    passages: tuple[str, ...]
    sources: tuple[str, ...]
    tokens_in: int
    tokens_out: int
    seconds: float
    metrics: Mapping[str, float]
    error: str = ""
    unsupported: tuple[str, ...] = ()
    documents: int = 1
    seed: int = 0
    withheld: str = ""


@dataclass(frozen=True, slots=True)
class TrainingSeeds:
    """An arm that answered with several adapters, trained alike but for the seed.

    Attributes:
        adapters: what tells each adapter; arms with the same ones were paired by them.
        means: by metric, each adapter's mean over the questions.
        share: of the variance of the arm's mean, on the deciding metric, that the seeds make, 0
            to 1; None where nothing varies.
    """

    arm: str
    adapters: tuple[str, ...]
    means: Mapping[str, tuple[float, ...]]
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """What the standard error of a difference is made of, where training seeds are in it.

    Attributes:
        documents: the standard error from the documents; `seeds` that from the seeds.
        degrees: of freedom of the latter; the fewer, where two arms bring seeds of their own.
    """

    documents: float
    seeds: float
    degrees: float


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm over all questions. `metrics` maps a metric's name to its interval."""

    arm: str
    questions: int
    errors: int
    metrics: Mapping[str, Interval]
    by_kind: Mapping[str, float]
    tokens_in: int
    tokens_out: int
    seconds: float
    latency_p50: float
    latency_p95: float


@dataclass(frozen=True, slots=True)
class Difference:
    """`a` minus `b` on the deciding metric, paired by question.

    Attributes:
        p: two-sided p-value, Holm-adjusted over the differences that were tested.
        spread: None where no arm of the two has several training seeds.
        error: the clustered standard error of `difference`, training seeds left out; None for
            one document, and in what earlier versions kept.
    """

    a: str
    b: str
    difference: Interval
    p: float
    spread: Spread | None = None
    # It follows from the same answers as the rest: what is kept without it is no other difference.
    error: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a diagnostic arm tells about an arm that can win.

    Attributes:
        arm: the diagnostic one; `against` is the one that it is held against.
        difference: `arm` minus `against` on the deciding metric, paired by question.
        finding: what follows, as a key: "mend_retrieval", "tuning", …; "unclear" when the
            interval does not tell.
        sentence: the finding in words, with its figures.
    """

    arm: Arm
    against: Option
    difference: Interval
    finding: str
    sentence: str


@dataclass(frozen=True, slots=True)
class FormShare:
    """How much of a tuned arm's lead over an untuned one is form.

    Attributes:
        lead: `a` minus `b` in token F1, which punishes words around a right answer.
        without_form: the same with each answer cut to its best-matching span.
        contains: `a` minus `b` in how often the right answer stands in the output.
        form: `lead` minus `without_form`, per question: the part that the form makes.
        share: `form` over `lead`, 0 to 1; None where `a` does not lead beyond doubt.
        sentence: that in words.
    """

    a: Option
    b: Option
    lead: Interval
    without_form: Interval
    contains: Interval
    form: Interval
    share: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Harm:
    """What an arm does that it should not.

    Attributes:
        known: general questions that the base answers right; 0 without such questions.
        forgotten: share of them that the arm no longer answers right; None without any.
        answered_unanswerable: share of the unanswerable questions that it answers all the same.
        fabricated_citations: share of its answers from passages that cite one which is not
            there; None where it is shown none.
        unsupported_numbers: share of them with a number that none of its passages has.
    """

    arm: Option
    known: int
    forgotten: Interval | None
    answered_unanswerable: Interval | None
    fabricated_citations: Interval | None
    unsupported_numbers: Interval | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A judge's preferences between two arms; every pair of answers is shown in both orders.

    Attributes:
        wins_a, wins_b: questions on which both orders agree.
        ties: questions on which the judge sees none ahead, or contradicts itself.
        inconsistent: those of the ties that are contradictions.
        failures: questions on which it gave no verdict; they are in none of the others.
        preference: mean of 1 (a), 0 (tie) and -1 (b); None when all failed.
    """

    a: Option
    b: Option
    wins_a: int
    wins_b: int
    ties: int
    inconsistent: int
    failures: int
    preference: Interval | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison says.

    Attributes:
        winner: the arm that beats every other, or the simplest one that is enough; None when
            that is not decidable.
        contenders: the arms that cannot be told apart from the best one (best first).
        prediction: what was advised before; None when there was no advice.
        outcome: the prediction's fate; None when there was no prediction.
        sentence: the verdict in a sentence.
        questions_needed: about how many questions would settle it; None when settled.
        margin: how far ahead an arm with more parts must be to be worth them; 0: no such rule.
    """

    winner: Option | None
    contenders: tuple[str, ...]
    metric: str
    prediction: Option | None
    outcome: Literal["confirmed", "refuted", "undecided"] | None
    sentence: str
    questions_needed: int | None = None
    margin: float = 0.0

    @property
    def enough(self) -> bool:
        """Whether the winner is simpler than the best, and not behind it by the margin."""
        return self.winner is not None and self.contenders != (self.winner,)


@dataclass(frozen=True, slots=True)
class Revised:
    """The advice before the comparison and after it, from the same answers.

    Attributes:
        before_confidence: 0 to 1; None when the advice did not tell.
        after: what is advised once the measured scores are counted in.
        confidence: of `after`, 0 to 1.
        decided: whether `after` needs no further comparison.
        basis: what `after` rests on; "argued" where the comparison leaves it to the rules.
        requirements: what the answers require and scores do not measure, one line each.
    """

    before: Option
    before_confidence: float | None
    after: Option
    confidence: float
    decided: bool
    basis: Literal["argued", "measured"]
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished comparison: the verdict and everything it rests on.

    Attributes:
        conditions: what all arms shared (checkpoint, quantisation, template, decoding,
            index), as asserted at run time.
        arms: those that can win; `diagnostics` are the others, and `diagnoses` what they tell.
        forms: for each tuned arm against each untuned one.
        notes: what has to be known to read it, such as an adapter's training.
        rows: of every arm, the diagnostic ones too; metrics are means over the arm's training
            seeds, all else is the first one's.
        effects: of retrieving, of tuning, and their interaction, where all four options ran.
        likely_best: by option, how often it is best when the documents are drawn again.
        detectable: for the best and the second best.
        choice: by the user's weights; None without any.
        gates: conditions that were given.
        freshness, learning, costs: None where that was not measured.
        loss: of each adapter whose run folder is there.
        revised: the advice after it; None where the answers behind the one before are unknown.
        seeds: of each arm that answered with several.
    """

    run: str
    verdict: Verdict
    arms: tuple[ArmSummary, ...]
    differences: tuple[Difference, ...]
    conditions: Mapping[str, Any]
    confidence: float
    clusters: int
    advice: Mapping[str, Any] | None = None
    reused_rows: int = 0
    seconds: float = 0.0
    rows: tuple[Row, ...] = field(default=(), repr=False)
    diagnostics: tuple[ArmSummary, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    forms: tuple[FormShare, ...] = ()
    harms: tuple[Harm, ...] = ()
    judged: tuple[Judged, ...] = ()
    notes: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
    discordances: tuple[Discordance, ...] = ()
    likely_best: Mapping[str, float] = field(default_factory=dict)
    detectable: Detectable | None = None
    choice: Choice | None = None
    gates: tuple[Gate, ...] = ()
    freshness: Freshness | None = None
    learning: LearningCurve | None = None
    costs: Costs | None = None
    loss: tuple[LossCurve, ...] = ()
    revised: Revised | None = None
    seeds: tuple[TrainingSeeds, ...] = ()
