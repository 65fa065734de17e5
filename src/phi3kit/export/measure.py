"""The same examples to every form of a model: loss, likeliest tokens, answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from phi3kit.dataset.encode import IGNORED, Encoded, encode
from phi3kit.dataset.examples import Example, read_examples
from phi3kit.dataset.heldout import normalise
from phi3kit.dataset.prompts import chats, with_passages
from phi3kit.errors import DataError, ModelError, RunError, StoreError
from phi3kit.export.questions import answered_questions
from phi3kit.progress import bar
from phi3kit.records import ExportStage, Message

if TYPE_CHECKING:
    from phi3kit.export.source import Source
    from phi3kit.models.loading import Loaded

# Nats per answer token that an export may lose: a twentieth more perplexity. Rounding to 16
# bits or to Q8_0 costs a hundredth of that; a weight in the wrong place costs whole nats.
LIMIT = 0.05

# Share of answers that rounding alone changes: plain `generate` and `compare`'s batches, the same
# bfloat16 model, gave 39% of 135M's answers otherwise (docs/measured/compare.json). More than that
# is said where chance would do it in less than 5% of exports: 6 of 8, 5 of 6, 4 of 4.
_ROUNDED, _CHANCE = 0.4, 0.05

_EXAMPLES = 32  # measured
_ANSWERED = 8  # of them also answered
_LONGEST = 64  # tokens of such an answer


@dataclass(frozen=True, slots=True)
class Measured:
    """What a form of the model makes of the examples.

    Attributes:
        loss: mean over the answer tokens, in nats.
        likeliest: the likeliest token before each answer token.
        answers: greedy answers to the first prompts.
    """

    loss: float
    likeliest: tuple[int, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Examples:
    """Chats to measure on.

    Attributes:
        file: where they come from.
        seen: whether the model was trained on one of them; None where nothing tells.
        notes: what has to be known about them.
    """

    file: Path
    chats: tuple[Sequence[Message], ...]
    seen: bool | None
    notes: tuple[str, ...] = ()

    @property
    def prompts(self) -> list[Sequence[Message]]:
        """The chats that are answered too, without their answers."""
        return [chat[:-1] for chat in self.chats[:_ANSWERED]]

    @property
    def texts(self) -> list[str]:
        """All that is said in the chats."""
        return [message["content"] for chat in self.chats for message in chat]


def read_measuring(file: Path | None, source: Source) -> Examples:
    """What the forms of a model are measured on, put as the model was trained.

    `file`, examples or questions for `compare`; else the held-out questions in the run's settings;
    else the last of the examples that it was trained on. Where it was trained with passages, the
    same share of them gets passages here.

    Raises:
        DataError: the file is not there or holds no examples.
    """
    trained = _trained_on(source)
    path, found = _chosen(file, source, trained)
    notes: list[str] = []
    seen: bool | None = None
    if trained is not None:
        asked = {_asked(example) for example in trained}
        seen = any(_asked(example) in asked for example in found)
    elif path == source.dataset:
        notes.append(f"{path} has changed since the training: whether the model was trained on "
                     "these examples is not known")
    chats, said = _put(found, source)
    return Examples(path, tuple(chats), seen, (*notes, *said))


def _chosen(file: Path | None, source: Source,
            trained: Sequence[Example] | None) -> tuple[Path, Sequence[Example]]:
    """The file, and the last of its examples."""
    for path in (file, None if file else source.questions):
        if path is not None and (questions := answered_questions(path)):
            return path, questions[-_EXAMPLES:]
    path = file or source.dataset
    if path is None or (file is None and not path.is_file()):
        raise DataError("the examples that the run was trained on are not there",
                        where=str(path or source.run),
                        mend="Give others to measure on with --examples FILE")
    found = trained if file is None and trained is not None else read_examples(path).examples
    if not found:
        raise DataError("no example to measure on", where=str(path))
    return path, found[-_EXAMPLES:]


def _trained_on(source: Source) -> Sequence[Example] | None:
    """The examples that it was trained on; None where their file is gone or has changed."""
    if source.dataset is None or not source.dataset.is_file():
        return None
    data = read_examples(source.dataset)
    if data.sha256 != source.sha256:
        return None
    return [example for example in data.examples if example.line not in source.left_out]


def _asked(example: Example) -> tuple[str, ...]:
    return tuple(map(normalise, example.asked))


def _put(examples: Sequence[Example], source: Source) -> tuple[list[list[Message]], list[str]]:
    """The chats, with passages where the training had them, and what is to say of that."""
    own, seed = source.settings, source.settings.finetune.seed
    ask = msgspec.structs.replace(own.ask, instruction=source.instruction)
    chosen = set(with_passages(examples, own.finetune.passages, seed=seed))
    if not chosen:
        return chats(examples, ask, seed=seed), []
    from phi3kit.rag.retrieve import open_retriever

    try:
        retriever = open_retriever(own)
    except (StoreError, ModelError) as error:
        return chats(examples, ask, seed=seed), [
            f"measured closed book, though it was trained with passages: {error}"]
    put = chats(examples, ask, seed=seed)
    looked_up = sorted(chosen)
    with_them = chats([examples[i] for i in looked_up], ask, seed=seed, share=1.0,
                      retriever=retriever)
    for index, chat in zip(looked_up, with_them, strict=True):
        put[index] = chat
    said = [f"{len(chosen)} of the {len(examples)} were put with passages, as in its training"]
    if source.index != retriever.fingerprint:
        said.append("the passages are not those of the training: the collection has changed")
    return put, said


def encoded(loaded: Loaded, examples: Examples, max_tokens: int) -> list[Encoded]:
    """Tokens and labels of the examples, those that do not fit left out.

    Raises:
        DataError: none of them fits.
    """
    from phi3kit.models.chat import stop_token_ids

    stops = stop_token_ids(loaded.tokenizer, loaded.model)
    rows: list[Encoded] = []
    for chat in examples.chats:
        try:
            rows.append(encode(loaded.tokenizer, chat, stops, min(max_tokens, loaded.context)))
        except DataError:
            continue
    if not rows:
        raise DataError("none of the examples fits into the model's context",
                        where=str(examples.file))
    return rows


def measure(loaded: Loaded, rows: Sequence[Encoded], prompts: Sequence[Sequence[Message]], *,
            name: str) -> Measured:
    """Loss, likeliest tokens and answers of a model, one example at a time.

    Args:
        rows: the tokens, the same for every form that is compared.
        prompts: what is answered.
        name: of the form, for the progress bar.
    """
    import torch

    from phi3kit.models.generate import LocalGenerator

    total, likeliest = 0.0, []
    with bar(f"measuring: {name}", len(rows) + len(prompts)) as advance:
        for row in rows:
            ids = torch.tensor([row.input_ids], device=loaded.model.device)
            labels = torch.tensor(row.labels[1:], device=loaded.model.device)
            with torch.inference_mode():
                logits = loaded.model(input_ids=ids, use_cache=False).logits[0, :-1]
                logits = logits[labels != IGNORED].float()
            wanted = labels[labels != IGNORED]
            total += float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
            likeliest += logits.argmax(dim=-1).tolist()
            advance(1)
        answers = LocalGenerator(loaded).generate(
            prompts, max_new_tokens=_LONGEST, batch_tokens=4096,
            on_batch=lambda indices, _: advance(len(indices)))
    return Measured(total / len(likeliest), tuple(likeliest), tuple(a.text for a in answers))


def stage(name: str, now: Measured, before: Measured | None) -> ExportStage:
    """A form beside the one before it."""
    if before is None:
        return ExportStage(name, now.loss, None, None)
    same = sum(a == b for a, b in zip(now.likeliest, before.likeliest, strict=True))
    alike = sum(a == b for a, b in zip(now.answers, before.answers, strict=True))
    return ExportStage(name, now.loss, same / len(now.likeliest), alike)


def doubt(stage: ExportStage, prompts: int) -> str | None:
    """A sentence where more answers differ from those before than rounding explains."""
    if stage.same_answers is None:
        return None
    differ = prompts - stage.same_answers
    chance = sum(comb(prompts, k) * _ROUNDED**k * (1 - _ROUNDED) ** (prompts - k)
                 for k in range(differ, prompts + 1))
    if chance >= _CHANCE:
        return None
    return (f"MIND: '{stage.name}' answers {differ} of {prompts} prompts otherwise than the form "
            "before it, more than rounding explains; compare the two on your own questions before "
            "you use it")


def refuse_worse(stages: Sequence[ExportStage]) -> None:
    """Stop an export whose loss has risen.

    Raises:
        RunError: the last loss is more than LIMIT above the first, or is not a number.
    """
    first, last = stages[0], stages[-1]
    # Written so that a loss that is no number does not pass.
    if not last.loss <= first.loss + LIMIT:
        raise RunError(
            f"the loss of '{last.name}' is {last.loss:.3f} nats per answer token and that of the "
            f"model as trained {first.loss:.3f}: {last.loss - first.loss:.3f} more, and {LIMIT} "
            "are allowed; nothing was written",
            mend="Write --dtype float32 or --weights f16; after QLoRA, answer on the 4-bit base "
                 "(phi3kit ask --adapter RUN) or train with LoRA")
