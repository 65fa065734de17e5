"""Examples in tokens: how long they are, what is cut, and a picture of what is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from types import SimpleNamespace
from typing import Any

from phi3kit.dataset.encode import IGNORED, Encoded, encode
from phi3kit.dataset.examples import Example
from phi3kit.errors import DataError
from phi3kit.models.chat import neutralise, render, stop_token_ids
from phi3kit.records import Cut, Failure, Lengths, MaskPicture, Message, Span


@dataclass(frozen=True)
class Measured:
    """Examples as they would be trained on.

    Attributes:
        rows: those that fit, each with its line and its tokens before anything was cut.
        too_long: those whose answer alone does not fit.
    """

    rows: tuple[tuple[int, int, Encoded], ...]
    too_long: tuple[Failure, ...]


def measure(tokenizer: Any, examples: Sequence[Example], chats: Sequence[Sequence[Message]],
            limit: int, *, where: str) -> Measured:
    """Encode every example as `finetune` does, at most `limit` tokens long.

    Args:
        tokenizer: the model's own, with its chat template; the weights are not needed.
        chats: the examples' messages, in order.
        where: the examples' file, for the failures.

    Raises:
        ModelError: the template cannot be trained on; see `encode`.
    """
    stops = stop_ids(tokenizer)
    rows: list[tuple[int, int, Encoded]] = []
    too_long: list[Failure] = []
    for example, chat in zip(examples, chats, strict=True):
        try:
            row = encode(tokenizer, chat, stops, limit)
        except DataError as error:
            too_long.append(Failure(f"{where}:{example.line}", str(error)))
            continue
        rows.append((example.line, _whole(tokenizer, chat, row), row))
    return Measured(tuple(rows), tuple(too_long))


def with_control_tokens(tokenizer: Any, chats: Sequence[Sequence[Message]]) -> list[int]:
    """Places of the chats that hold control tokens of the model, which `render` breaks up."""
    return [at for at, chat in enumerate(chats)
            if any(neutralise(tokenizer, turn["content"], answer=turn["role"] == "assistant")
                   != turn["content"] for turn in chat)]


def stop_ids(tokenizer: Any) -> list[int]:
    """The ids that end an answer, as far as the tokenizer and its template tell them."""
    return stop_token_ids(tokenizer, SimpleNamespace(config=None))


def of_rows(tokenizer: Any, chats: Sequence[Sequence[Message]], rows: Sequence[Encoded],
            limit: int, model: str) -> Lengths:
    """The lengths of examples that are encoded already; only what is cut is counted anew.

    Args:
        rows: at least one; `chats` are theirs.
    """
    return figures([(_whole(tokenizer, chat, row), row)
                    for chat, row in zip(chats, rows, strict=True)], limit, model)


def summary(measured: Measured, limit: int, model: str) -> Lengths | None:
    """The lengths in figures; None when no example fits."""
    if not measured.rows:
        return None
    return figures([(whole, row) for _, whole, row in measured.rows], limit, model)


def figures(rows: Sequence[tuple[int, Encoded]], limit: int, model: str) -> Lengths:
    """The figures of rows, at least one, with their tokens before anything was cut."""
    lengths = sorted(whole for whole, _ in rows)
    tokens = sum(len(row.input_ids) for _, row in rows)
    cut = [(whole, len(row.input_ids)) for whole, row in rows if row.cut]
    return Lengths(
        least=lengths[0], median=median(lengths), p95=percentile(lengths, 0.95),
        most=lengths[-1], limit=limit, cut=len(cut),
        lost=sum(whole - left for whole, left in cut),
        lost_answers=sum(row.lost_answers for _, row in rows),
        losing_answers=sum(row.lost_answers > 0 for _, row in rows),
        trained=sum(row.trained for _, row in rows) / tokens, model=model)


def cuts(measured: Measured) -> tuple[Cut, ...]:
    """Each example that is cut, with what it loses, by line."""
    return tuple(Cut(line, whole, whole - len(row.input_ids), row.lost_answers)
                 for line, whole, row in measured.rows if row.cut)


def percentile(ordered: Sequence[int], share: float) -> float:
    """The value below which `share` of the ascending values lie, interpolated between two."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def pictures(tokenizer: Any, measured: Measured, count: int) -> tuple[MaskPicture, ...]:
    """The masks of `count` examples: of the first, and of others evenly over the lengths.

    The longest is among them, for there the cut would show.
    """
    rows = measured.rows
    if not rows or count < 1:
        return ()
    by_length = sorted(range(len(rows)), key=lambda at: (rows[at][1], at))
    chosen = {0} | {by_length[round(step * (len(rows) - 1) / max(1, count - 1))]
                    for step in range(1, count)}
    return tuple(_picture(tokenizer, rows[at][0], rows[at][2]) for at in sorted(chosen))


def _picture(tokenizer: Any, line: int, row: Encoded) -> MaskPicture:
    spans = []
    marked = zip(row.input_ids, (label != IGNORED for label in row.labels), strict=True)
    for trained, tokens in groupby(marked, key=lambda pair: pair[1]):
        ids = [token for token, _ in tokens]
        spans.append(Span(tokenizer.decode(ids, skip_special_tokens=False), trained))
    return MaskPicture(line, len(row.input_ids), row.trained, row.cut, tuple(spans))


def _whole(tokenizer: Any, chat: Sequence[Message], row: Encoded) -> int:
    """Tokens of an example before anything was cut."""
    if not row.cut:
        return len(row.input_ids)
    text = render(tokenizer, chat, generation=False)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])
