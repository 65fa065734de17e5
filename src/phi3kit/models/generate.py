"""Answers from a model: greedy, in batches, each counted and timed.

Every arm of a comparison and every `ask` goes through here, so all of them decode alike.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from phi3kit.errors import ModelError, first_line
from phi3kit.models import adapters, decoding
from phi3kit.models.chat import render, stop_token_ids
from phi3kit.models.hardware import release
from phi3kit.models.kv_cache import longest
from phi3kit.models.loading import Loaded, load_base
from phi3kit.models.out_of_memory import out_of_memory
from phi3kit.models.prefill import NOTHING, Beginning
from phi3kit.models.said import Said, opened
from phi3kit.records import Message
from phi3kit.settings import ModelSettings

# A decoding step costs little more for 128 short prompts than for 64: much of it is reading the
# weights. Rows that have ended leave the batch (see `decoding`).
MAX_BATCH = 128
# Tokens at a prompt's end that show whether it opens the answer's thoughts.
_OPENING = 8

OnBatch = Callable[[list[int], list["Generation"]], None]


@dataclass(frozen=True)
class Generation:
    """One answer.

    Attributes:
        text: the answer without the prompt, thoughts and control tokens, stripped.
        tokens_in: tokens of the prompt.
        tokens_out: tokens generated, the one that ended the answer included.
        seconds: wall time; in a batch, the batch's time shared out by `tokens_out`, and an
            equal part of the time for what all prompts begin with.
        error: why there is no answer; "" when there is one.
    """

    text: str
    tokens_in: int
    tokens_out: int
    seconds: float
    error: str = ""


class Generator(Protocol):
    """Whatever answers chat prompts; `context` is prompt and answer together, in tokens."""

    context: int

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Length of the rendered prompt in tokens."""
        ...

    def generate(self, prompts: Sequence[Sequence[Message]], *, max_new_tokens: int,
                 batch_tokens: int, on_batch: OnBatch | None = None) -> list[Generation]:
        """Answers in the order of the prompts."""
        ...

    def stream(self, messages: Sequence[Message], *, max_new_tokens: int) -> Iterator[str]:
        """One answer, piece by piece."""
        ...


class LocalGenerator:
    """A model in this process.

    Attributes:
        loaded: the model and what identifies it.
        context: longest prompt and answer together, in tokens.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.context = loaded.context
        self._stops = stop_token_ids(loaded.tokenizer, loaded.model)
        loaded.model.eval()
        decoding.forget_sampling(loaded.model)

    @property
    def adapter(self) -> bool:
        """Whether an adapter is on the model."""
        return adapters.is_adapted(self.loaded)

    def put_on(self, adapter: Path) -> None:
        """Answer with `adapter` from now on, in the place of the one that was on.

        Raises:
            ModelError: as `adapters.attach`.
        """
        adapters.detach(self.loaded)
        adapters.attach(self.loaded, adapter)

    def without_adapter(self) -> contextlib.AbstractContextManager[None]:
        """Inside the `with` block, the base answers alone."""
        return adapters.without_adapter(self.loaded)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Length of the rendered prompt in tokens, the assistant's opening included."""
        return len(self._tokenize(messages))

    def generate(self, prompts: Sequence[Sequence[Message]], *, max_new_tokens: int,
                 batch_tokens: int, on_batch: OnBatch | None = None) -> list[Generation]:
        """Answer every prompt greedily; results in the order of the prompts.

        Prompts that begin alike share a batch, and what they begin with is read once. A batch
        that fails is tried again in halves; a prompt that fails alone, or is too long for the
        context, gets a `Generation` with `error`. Batched answers equal single ones but where
        rounding decides a tie.

        Args:
            prompts: message lists, each ending with a user's turn.
            max_new_tokens: longest answer, in tokens.
            batch_tokens: prompt tokens of a batch at most, padding included.
            on_batch: called after each batch with its prompts' indices and its results.
        """
        ids = [self._tokenize(messages) for messages in prompts]
        room = self.context - max_new_tokens
        results: dict[int, Generation] = {}
        too_long = [i for i, tokens in enumerate(ids) if len(tokens) > room]
        for i in too_long:
            results[i] = Generation("", len(ids[i]), 0, 0.0, error=(
                f"the prompt has {len(ids[i])} tokens; the model's context of {self.context} "
                f"leaves {max(room, 0)} beside {max_new_tokens} for the answer"))
        if too_long and on_batch:
            on_batch(too_long, [results[i] for i in too_long])
        fitting = [i for i in range(len(ids)) if i not in results]
        started = time.perf_counter()
        batches = list(self._batches(ids, fitting, max_new_tokens, batch_tokens))
        share = (time.perf_counter() - started) / max(len(fitting), 1)
        for batch, begun in batches:
            answers = [replace(answer, seconds=answer.seconds + share) for answer in
                       self._answer_or_retry([ids[i] for i in batch], max_new_tokens, begun)]
            results.update(zip(batch, answers, strict=True))
            if on_batch:
                on_batch(batch, answers)
        return [results[i] for i in range(len(ids))]

    def stream(self, messages: Sequence[Message], *, max_new_tokens: int) -> Iterator[str]:
        """One greedy answer in pieces, as they are made.

        Closing the iterator early stops the model.

        Raises:
            ModelError: the prompt is too long for the context, generation fails, or ends in
                the answer's thoughts.
        """
        from phi3kit.models.streaming import stream

        ids = self._tokenize(messages)
        if len(ids) > self.context - max_new_tokens:
            raise ModelError(
                f"the prompt has {len(ids)} tokens; the model's context of {self.context} "
                f"leaves {max(self.context - max_new_tokens, 0)} beside {max_new_tokens} for "
                "the answer", mend="Lower --passages or --max-new-tokens")
        said = Said(max_new_tokens, begun=self._begun_thoughts(ids))
        with out_of_memory(f"answering a prompt of {len(ids):,} tokens", lambda: (
                "Lower --passages or --max-new-tokens, or take a smaller model; `phi3kit plan` "
                "tells what fits"), device=self.loaded.device), contextlib.closing(
                    stream(self.loaded.model, self.loaded.tokenizer, ids, self._stops,
                           max_new_tokens)) as pieces:
            yield from said.stream(pieces)

    def _tokenize(self, messages: Sequence[Message]) -> list[int]:
        text = render(self.loaded.tokenizer, messages, generation=True)
        return list(self.loaded.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _begun_thoughts(self, ids: Sequence[int]) -> str:
        return opened(self.loaded.tokenizer.decode(ids[-_OPENING:], skip_special_tokens=True))

    def _batches(self, ids: Sequence[list[int]], fitting: Sequence[int], max_new_tokens: int,
                 batch_tokens: int) -> Iterator[tuple[list[int], Beginning]]:
        """Indices that are answered together, and what their prompts begin with.

        Prompts whose beginnings cannot be shared are kept apart from those that can.
        """
        limit = longest(self.loaded.model) - max_new_tokens
        sharing = [i for i in fitting if len(ids[i]) <= limit]
        begun = self._begun([ids[i] for i in sharing])
        for batch in plan_batches([ids[i] for i in sharing], batch_tokens):
            yield [sharing[j] for j in batch], begun
        others = [i for i in fitting if len(ids[i]) > limit]
        for batch in plan_batches([ids[i] for i in others], batch_tokens, by_length=True):
            yield [others[j] for j in batch], NOTHING

    def _begun(self, prompts: Sequence[list[int]]) -> Beginning:
        with contextlib.suppress(RuntimeError):  # out of memory: each batch reads its own
            return decoding.beginning(self.loaded.model, prompts)
        release(self.loaded.device)
        return NOTHING

    def _answer_or_retry(self, batch: list[list[int]], max_new_tokens: int,
                         begun: Beginning) -> list[Generation]:
        try:
            return self._answer(batch, max_new_tokens, begun)
        except RuntimeError as error:  # torch's errors, out of memory among them
            if len(batch) == 1 and begun is NOTHING:
                return [Generation("", len(batch[0]), 0, 0.0, error=first_line(error))]
        # Outside of the handler: its traceback would keep the failed batch's memory alive.
        release(self.loaded.device)
        if len(batch) == 1:
            return self._answer_or_retry(batch, max_new_tokens, NOTHING)
        half = (len(batch) + 1) // 2
        return [answer for part in (batch[:half], batch[half:])
                for answer in self._answer_or_retry(part, max_new_tokens, begun)]

    def _answer(self, batch: list[list[int]], max_new_tokens: int,
                begun: Beginning) -> list[Generation]:
        tokenizer = self.loaded.tokenizer
        started = time.perf_counter()
        outputs = decoding.greedy(self.loaded.model, batch, stops=self._stops,
                                  max_new_tokens=max_new_tokens, begun=begun)
        seconds = time.perf_counter() - started
        total = sum(len(out) for out in outputs)
        plain = []
        for ids, out in zip(batch, outputs, strict=True):
            said = Said(max_new_tokens, begun=self._begun_thoughts(ids))
            text, why = said.whole(tokenizer.decode(out, skip_special_tokens=True))
            plain.append(Generation(text=text, tokens_in=len(ids), tokens_out=len(out),
                                    seconds=0.0, error=why))
        return [replace(g, seconds=seconds * g.tokens_out / total) for g in plain]


def open_generator(settings: ModelSettings, *, adapter: Path | None = None) -> LocalGenerator:
    """Load the model that `settings` name, with an adapter if one is given.

    Quantization "auto" is the adapter's own (nf4 after QLoRA), none without an adapter. Of a hub
    model without a revision the adapter's is taken.

    Raises:
        ModelError: as `load_base` and `adapters.attach`.
    """
    quantization = settings.quantization
    if quantization == "auto":
        quantization = adapters.trained_as(adapter)["quantization"] if adapter else "none"
    loaded = load_base(adapters.pinned(settings, adapter), quantization=quantization)
    if adapter is not None:
        adapters.attach(loaded, adapter)
    return LocalGenerator(loaded)


def plan_batches(prompts: Sequence[Sequence[int]], batch_tokens: int,
                 max_batch: int = MAX_BATCH, *, by_length: bool = False) -> list[list[int]]:
    """Indices in batches of prompts that begin alike, or are of like length, the largest first.

    A batch holds at most `max_batch` prompts and, padded to its longest, at most
    `batch_tokens` tokens; a prompt that is longer than that is a batch of its own. With the
    largest first, memory runs out at once or never.
    """
    batches: list[list[int]] = []
    widest = 0
    for i in sorted(range(len(prompts)), key=lambda i: (
            -len(prompts[i]) if by_length else list(prompts[i]), i)):
        widest = max(widest, len(prompts[i]))
        if batches and len(batches[-1]) < max_batch and (
                widest * (len(batches[-1]) + 1) <= batch_tokens):
            batches[-1].append(i)
        else:
            batches.append([i])
            widest = len(prompts[i])
    return sorted(batches, reverse=True, key=lambda batch: (
        len(batch) * max(len(prompts[i]) for i in batch)))
