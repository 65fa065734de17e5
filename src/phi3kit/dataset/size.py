"""How large a training dataset is, in the tokens that the model would be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from phi3kit.dataset.examples import Example, read_examples
from phi3kit.dataset.heldout import held_out, without_held_out
from phi3kit.dataset.prompts import chats, with_passages
from phi3kit.errors import DataError
from phi3kit.records import DatasetSize, Failure, Message
from phi3kit.settings import Settings

# Of English prose; German and code have fewer, other scripts far fewer.
_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_TURN = 4  # of Phi-3's template: who speaks, a line feed, the end, a line feed


def dataset_size(settings: Settings) -> DatasetSize:
    """Tokens of `finetune.dataset`, counted as `finetune` would encode it where that is possible.

    The model's tokenizer counts where it is here; else every four characters are taken for one
    token. Passages are not retrieved: each that `finetune.passages` asks for counts as the
    longest that `ingest.chunk_tokens` allows.

    Raises:
        DataError: the file cannot be read, or none of its examples can be used.
    """
    lengths, how, failures = row_lengths(settings)
    return DatasetSize(source=settings.finetune.dataset or "", examples=len(lengths),
                       tokens=sum(lengths), longest=max(lengths), how=how, skipped=failures)


def row_lengths(settings: Settings) -> tuple[list[int], str, tuple[Failure, ...]]:
    """Tokens of each example that can be used, how they were counted, and what cannot be used.

    Raises:
        DataError: as `dataset_size`.
    """
    path = Path(settings.finetune.dataset or "")
    data = read_examples(path)
    questions = Path(settings.compare.questions) if settings.compare.questions else None
    kept, leaked = without_held_out(data.examples, held_out(questions), where=str(path))
    failures = (*data.failures, *leaked)
    if not kept:
        raise DataError(f"none of the {len(failures)} examples can be used; the first: "
                        f"{failures[0].why}", where=failures[0].where)
    lengths, how = _lengths(settings, chats(kept, settings.ask, seed=settings.finetune.seed))
    own = settings.finetune
    chosen = with_passages(kept, own.passages, seed=own.seed)
    if chosen:
        added = settings.ask.passages * settings.ingest.chunk_tokens
        how += (f"; {len(chosen)} with {settings.ask.passages} passages of up to "
                f"{settings.ingest.chunk_tokens} tokens")
        for index in chosen:
            lengths[index] += added
    return [min(length, own.max_tokens) for length in lengths], how, failures


def mean_tokens(examples: Sequence[Example], settings: Settings) -> float:
    """Mean tokens of the examples as `finetune` puts them, passages aside, by their characters."""
    turns = chats(examples, settings.ask, seed=settings.finetune.seed)
    return sum(map(estimated_tokens, turns)) / max(1, len(turns))


def estimated_tokens(chat: Sequence[Message]) -> int:
    """Tokens of a conversation by its characters alone: for where no tokenizer is at hand."""
    return sum(_TOKENS_PER_TURN + ceil(len(turn["content"]) / _CHARACTERS_PER_TOKEN)
               for turn in chat)


def _lengths(settings: Settings, messages: Sequence[Sequence[Message]]) -> tuple[list[int], str]:
    from phi3kit.models.tokenizer import local_tokenizer

    tokenizer = local_tokenizer(settings.model)
    if tokenizer is None:
        return ([estimated_tokens(chat) for chat in messages],
                f"estimated, {_CHARACTERS_PER_TOKEN} characters for a token: the tokenizer of "
                f"{settings.model.name} is not here")
    return [_count(tokenizer, chat) for chat in messages], (
        f"counted with the tokenizer and chat template of {settings.model.name}")


def _count(tokenizer: Any, chat: Sequence[Message]) -> int:
    from phi3kit.models.chat import render

    text = render(tokenizer, chat, generation=False)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])
