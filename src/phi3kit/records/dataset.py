"""Training examples, measured, split and made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from phi3kit.records.common import Failure
from phi3kit.records.preflight import Preflight


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
class Leak:
    """An example that gives a held-out question away.

    Attributes:
        line: of the example.
        question_id: of the question.
        where: the question's file and line.
        how: "exact", "13-gram" or "near".
    """

    line: int
    question_id: str
    where: str
    how: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """An example that says again what an earlier one, at line `of`, says; nearly, if `near`."""

    line: int
    of: int
    near: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two examples with the same prompt and different answers, by their lines."""

    line: int
    other: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the examples as the model is trained on them, before anything is cut.

    Attributes:
        limit: tokens that training allows; what is longer loses the start of its prompt.
        trained: mean share of the tokens that carry loss, 0 to 1.
        cut: examples that are longer than `limit`.
        lost: tokens that they lose together.
        model: whose tokenizer and chat template counted.
        lost_answers: answers to train on that go with them, in the oldest exchanges of a chat;
            `losing_answers`: examples that lose such.
    """

    least: int
    median: float
    p95: float
    most: int
    limit: int
    trained: float
    cut: int
    lost: int
    model: str
    lost_answers: int = 0
    losing_answers: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """An example that is longer than training allows.

    Attributes:
        tokens: that it has; `lost` of them go.
        answers: to train on, that go with them.
    """

    line: int
    tokens: int
    lost: int
    answers: int


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How often each answer of a closed set is given.

    Attributes:
        kind: the examples' `kind`; "" where they have none.
        counts: examples by label, the most frequent first.
    """

    kind: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of an encoded example whose tokens are all trained or all not."""

    text: str
    trained: bool


@dataclass(frozen=True, slots=True)
class MaskPicture:
    """An example as the model sees it after truncation.

    Attributes:
        line: of the example.
        tokens: all of them; `trained` of them carry loss.
        cut: whether the start of its prompt is gone.
    """

    line: int
    tokens: int
    trained: int
    cut: bool
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class KnownAnswers:
    """What the base model answers right by itself, closed book.

    Attributes:
        asked: examples that were asked.
        lines: of those whose answer the base gave.
        errors: examples that it could not be asked.
    """

    asked: int
    lines: tuple[int, ...]
    errors: int = 0


@dataclass(frozen=True, slots=True)
class DatasetCheck:
    """What a file of examples holds, and what is wrong with it.

    Attributes:
        format: "messages", "ShareGPT", "prompt/completion", "Alpaca" or "question/answer".
        examples: that `finetune` would train on.
        skipped: what it would leave out, by line: unusable, too long, or a held-out question.
        lengths: None where the model's tokenizer is not here.
        questions: held-out questions that leakage was looked for with.
        known: None unless the base was asked.
        notes: what could not be checked, and why.
        control: lines of examples whose texts hold control tokens of the model, such as
            "<|end|>": they are trained and served broken up, as the plain text that they are.
        preflight: of the model that they would be trained on.
        cuts: examples that lose their start; those of `skipped` do not fit at all.
    """

    source: str
    format: str
    examples: int
    skipped: tuple[Failure, ...]
    lengths: Lengths | None
    repeats: tuple[Repeat, ...]
    conflicts: tuple[Conflict, ...]
    questions: int
    leaks: tuple[Leak, ...]
    labels: tuple[LabelCounts, ...]
    masks: tuple[MaskPicture, ...]
    known: KnownAnswers | None = None
    notes: tuple[str, ...] = ()
    control: tuple[int, ...] = ()
    preflight: Preflight | None = None
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True, slots=True)
class DataDigest:
    """What a training saw of its examples before it began.

    Attributes:
        examples: that it trained on.
        copies: those of them that repeat an earlier one, but for blanks; `near_copies`: nearly.
        conflicts: examples with the prompt of another one and a different answer.
        questions: held-out questions that leakage was looked for with.
        leaks: what is left of it: examples that ask a held-out question are not trained on.
        control: examples whose texts hold control tokens of the model, which are broken up.
    """

    examples: int
    lengths: Lengths
    copies: int
    near_copies: int
    conflicts: int
    questions: int
    leaks: tuple[Leak, ...]
    labels: tuple[LabelCounts, ...]
    control: int = 0


@dataclass(frozen=True, slots=True)
class DatasetSplit:
    """A file of examples, cut in two.

    Attributes:
        train: examples in `files`' first.
        held_out: examples in the others.
        groups: sets of examples that had to stay together.
        by_kind: examples to train on and held out, by kind or label.
        without_source: examples that name no source document.
        skipped: examples that cannot be used.
        own_system: held-out questions with a system message that is not `ask.instruction`, which
            `compare` asks all with; `systems`: how many different ones they have.
    """

    source: str
    train: int
    held_out: int
    groups: int
    by_kind: Mapping[str, tuple[int, int]]
    without_source: int
    files: tuple[str, ...]
    skipped: tuple[Failure, ...] = ()
    own_system: int = 0
    systems: int = 0


@dataclass(frozen=True, slots=True)
class RaftReport:
    """Examples that were given passages.

    Attributes:
        examples: written to `file`.
        abstaining: those of them whose right passage was left out.
        added: those whose right passage the search ranked too low for `ask` to show it.
        skipped: examples without passages, and why.
        uncited: those whose answer a program reads, such as JSON, which a citation would break.
    """

    file: str
    examples: int
    abstaining: int
    added: int
    skipped: tuple[Failure, ...] = ()
    uncited: int = 0


@dataclass(frozen=True, slots=True)
class SynthReport:
    """Question/answer pairs that were written from the collection.

    Attributes:
        pairs: written to `file`.
        wanted: how many were asked for.
        tried: passages that the model was asked to write a question about.
        dropped: pairs by the filter that dropped them, in the order of the filters.
        reused: of `tried`, those that an earlier call had done.
        failed: attempts at which the model failed; the same command tries them again.
    """

    file: str
    pairs: int
    wanted: int
    tried: int
    dropped: Mapping[str, int]
    reused: int
    failed: int = 0
