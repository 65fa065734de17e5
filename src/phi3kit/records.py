"""Frozen records that pass between rooms. Standard library only, JSON all the way down."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

Option = Literal["base", "rag", "finetune", "both"]
OPTIONS: tuple[Option, ...] = ("base", "rag", "finetune", "both")


class Message(TypedDict):
    """One turn of a chat: `role` is system, user or assistant."""

    role: str
    content: str


def as_json(record: Any) -> Any:
    """A record as plain JSON values, field order kept; the inverse is the reader's task."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {f.name: as_json(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {str(k): as_json(v) for k, v in record.items()}
    if isinstance(record, (list, tuple)):
        return [as_json(v) for v in record]
    return record


# --- ingest -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk of a document as it stands in the collection.

    Attributes:
        id: the chunk's ID in the collection.
        text: the chunk's text.
        source: the document's path, relative to the project folder, with forward slashes.
        start: first character of the chunk in the document's extracted text.
        end: one past the last character.
        page: 1-based page, for formats that have pages.
        heading: headings above the chunk, outermost first, joined with " > "; "" if none.
        sha256: hash of `text`.
        score: cosine similarity to the query, -1 to 1; None outside of a search.
        sources: every document that holds this text under these headings, `source` first.
    """

    id: str
    text: str
    source: str
    start: int
    end: int
    page: int | None = None
    heading: str = ""
    sha256: str = ""
    score: float | None = None
    sources: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where to look: "docs/manual.pdf, p. 3" or "docs/a.md, Pumps > Seals, chars 10–95"."""
        parts = [self.source]
        if self.page is not None:
            parts.append(f"p. {self.page}")
        if self.heading:
            parts.append(self.heading)
        parts.append(f"chars {self.start}–{self.end}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Failure:
    """A file, line or example that could not be used, and why."""

    where: str
    why: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What a reconcile did: files by outcome, chunks in and out.

    Attributes:
        added, changed, unchanged, deleted: paths, as stored in `Passage.source`.
        failed: files that could not be read; what the collection held of them stays.
        chunks: chunks in the collection afterwards; equal ones count once.
        chunks_embedded: chunks embedded by this run.
        verified: chunks that were looked for by their own vectors after the writing; 0 when
            nothing was written.
        reindexed: some were not found, so the index was built anew from the vectors.
    """

    collection: str
    store: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    deleted: tuple[str, ...]
    failed: tuple[Failure, ...]
    chunks: int
    chunks_embedded: int
    chunks_deleted: int
    tokens: int
    seconds: float
    verified: int = 0
    reindexed: bool = False


# --- ask ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Citation:
    """A numbered reference of an answer to a passage.

    Attributes:
        number: the number in the answer's text; passages are counted from 1.
        passage: what it points at.
        by: "model" when the model wrote it, "match" when we attached it because the
            sentence's words stand in the passage.
    """

    number: int
    passage: Passage
    by: Literal["model", "match"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with the passages that were shown to the model.

    Attributes:
        abstained: the answer says that it does not know.
        removed_citations: numbers that the model wrote and that point at no passage.
        seconds: wall time; in a batch, the batch's time shared out by output tokens.
        error: why there is no answer; "" when there is one.
    """

    question: str
    text: str
    abstained: bool
    citations: tuple[Citation, ...]
    removed_citations: tuple[int, ...]
    passages: tuple[Passage, ...]
    tokens_in: int
    tokens_out: int
    seconds: float
    error: str = ""


# --- finetune -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a training run made.

    Attributes:
        run: the run folder; the adapter lies in `<run>/adapter`.
        format: the dataset format that was detected.
        examples: examples trained on; `skipped` lists those that could not be used.
        trained_tokens: answer tokens that carried loss, over all epochs.
        tokens: real (unpadded) tokens processed, over all epochs.
        losses: mean loss per optimizer step, in order.
        final_loss: mean over the trained tokens of the last tenth of the steps.
        peak_memory_bytes: peak resident memory (CPU) or allocated memory (CUDA).
    """

    run: str
    base: str
    base_fingerprint: str
    method: Literal["lora", "qlora"]
    format: str
    examples: int
    skipped: tuple[Failure, ...]
    epochs: float
    steps: int
    tokens: int
    trained_tokens: int
    losses: tuple[float, ...]
    final_loss: float
    trainable_parameters: int
    target_modules: tuple[str, ...]
    seconds: float
    peak_memory_bytes: int
    reused: bool = False


# --- advise -------------------------------------------------------------------------------


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
        winner: the option that beat the others; None when that was not decidable.
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


# --- compare ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out question. `answers` is empty when it is unanswerable."""

    id: str
    question: str
    answers: tuple[str, ...] = ()
    source_ids: tuple[str, ...] = ()
    answerable: bool = True
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One arm's answer to one question, with everything that the report prints from it.

    Attributes:
        cluster: the source document that the question is grouped under in the statistics.
        metrics: score by metric name, 0 to 1; an error scores 0 everywhere.
        error: why there is no answer; "" when there is one.
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


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float


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
    """

    a: str
    b: str
    difference: Interval
    p: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison says.

    Attributes:
        winner: the arm that beats every other; None when that is not decidable.
        contenders: the arms that cannot be told apart from the best one (best first).
        prediction: what was advised before; None when there was no advice.
        outcome: the prediction's fate; None when there was no prediction.
        sentence: the verdict in a sentence.
        questions_needed: about how many questions would settle it; None when settled.
    """

    winner: Option | None
    contenders: tuple[str, ...]
    metric: str
    prediction: Option | None
    outcome: Literal["confirmed", "refuted", "undecided"] | None
    sentence: str
    questions_needed: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished comparison: the verdict and everything it rests on.

    Attributes:
        conditions: what all arms shared (checkpoint, quantisation, template, decoding,
            index), as asserted at run time.
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


@dataclass(frozen=True, slots=True)
class RetrievalMode:
    """One way of retrieving, over all questions.

    Attributes:
        metrics: hit@k for several k, MRR@10 and nDCG@10, by name.
        ahead: nDCG@10 minus that of dense retrieval, paired; None for dense itself.
    """

    mode: str
    metrics: Mapping[str, Interval]
    ahead: Interval | None


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """How well passages are found for questions whose documents are known.

    Attributes:
        questions: those that carry source_ids; `left_out` carry none.
        clusters: source documents that the intervals are clustered by.
        fingerprint: identity of the collection.
    """

    collection: str
    fingerprint: str
    questions: int
    left_out: int
    clusters: int
    confidence: float
    modes: tuple[RetrievalMode, ...]


# --- plan and doctor ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Memory of one training step, by part, in bytes, and the cards that hold it.

    Attributes:
        parts: weights, adapter, gradients, optimizer, activations, overhead.
        gpus: number of GPUs needed by card size in GB; None when no number of them does.
        assumptions: what the figures rest on, one sentence each.
        largest_batch: most rows of `context` tokens that fit the card; None when not even one
            does, or no card was named.
        longest_context: most tokens of `batch` rows each that fit the card, in steps of 256 up
            to the model's own; None likewise.
    """

    model: str
    parameters: int
    method: Literal["full", "lora", "qlora"]
    context: int
    batch: int
    parts: Mapping[str, int]
    total: int
    gpus: Mapping[str, int | None]
    fits: bool | None
    advice: tuple[str, ...]
    assumptions: tuple[str, ...]
    largest_batch: int | None = None
    longest_context: int | None = None


@dataclass(frozen=True, slots=True)
class DatasetSize:
    """How large a training dataset is.

    Attributes:
        source: the file; "" when the user gave the numbers.
        tokens: of one pass over the examples, prompts and answers.
        longest: tokens of the longest example.
        how: how the tokens were counted, in a sentence.
        skipped: examples that cannot be used.
    """

    source: str
    examples: int
    tokens: int
    longest: int
    how: str
    skipped: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class TimePlan:
    """Hours of a training, as an estimate.

    Attributes:
        tokens: real tokens over all epochs.
        how: what the figures rest on.
        cost: of the hours, by "low", "expected" and "high"; None when no price was given.
        assumptions: what else they rest on, one sentence each.
    """

    method: Literal["full", "lora", "qlora"]
    tokens: int
    low: float
    expected: float
    high: float
    how: str
    cost: Mapping[str, float] | None = None
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `doctor` looked at. `ok` is None when it does not apply here."""

    name: str
    ok: bool | None
    found: str
    mend: str = ""
