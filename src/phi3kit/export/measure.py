"""The same examples to every form of a model: loss, likeliest tokens, answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phi3kit.dataset.encode import IGNORED, Encoded, encode
from phi3kit.dataset.examples import read_examples
from phi3kit.dataset.prompts import chats
from phi3kit.errors import DataError, RunError
from phi3kit.progress import bar
from phi3kit.records import ExportStage, Message

if TYPE_CHECKING:
    from phi3kit.export.source import Source
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import Settings

# Nats per answer token that an export may lose: a twentieth more perplexity. Rounding to 16
# bits or to Q8_0 costs a hundredth of that; a weight in the wrong place costs whole nats.
LIMIT = 0.05

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
    """Chats to measure on, from `file`; `seen` tells whether the model was trained on them."""

    file: Path
    chats: tuple[Sequence[Message], ...]
    seen: bool

    @property
    def prompts(self) -> list[Sequence[Message]]:
        """The chats that are answered too, without their answers."""
        return [chat[:-1] for chat in self.chats[:_ANSWERED]]

    @property
    def texts(self) -> list[str]:
        """All that is said in the chats."""
        return [message["content"] for chat in self.chats for message in chat]


def read_measuring(file: Path | None, source: Source, settings: Settings) -> Examples:
    """The last examples of `file`, or of what the run was trained on, closed book.

    Raises:
        DataError: the file is not there or holds no examples.
    """
    import msgspec

    path = file or source.dataset
    if path is None or (file is None and not path.is_file()):
        raise DataError("the examples that the run was trained on are not there",
                        where=str(path or source.run),
                        mend="Give others to measure on with --examples FILE")
    found = read_examples(path).examples
    if not found:
        raise DataError("no example to measure on", where=str(path))
    ask = msgspec.structs.replace(settings.ask, instruction=source.instruction)
    return Examples(path, tuple(chats(found[-_EXAMPLES:], ask, seed=0)), seen=file is None)


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
