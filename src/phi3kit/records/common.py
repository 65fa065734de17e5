"""What every room shares: options, messages, failures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

Option = Literal["base", "rag", "finetune", "both"]
OPTIONS: tuple[Option, ...] = ("base", "rag", "finetune", "both")

Arm = Literal["base", "few-shot", "rag", "oracle-rag", "full-context", "finetune", "bolted-on",
              "both"]
ARMS: tuple[Arm, ...] = ("base", "few-shot", "rag", "oracle-rag", "full-context", "finetune",
                         "bolted-on", "both")
"""Whatever can answer in a comparison. Those that are an `Option` can win; the others are
diagnostic: they tell why."""


class Message(TypedDict):
    """One turn of a chat: `role` is system, user or assistant.

    An assistant's turn of `weight` 0 is shown in training and carries no loss.
    """

    role: str
    content: str
    weight: NotRequired[int]


def as_json(record: Any) -> Any:
    """A record as plain JSON values, field order kept; the inverse is the reader's task.

    JSON has no infinity: it is null, and `with_ends` puts it back into intervals.
    """
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {f.name: as_json(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {str(k): as_json(v) for k, v in record.items()}
    if isinstance(record, (list, tuple)):
        return [as_json(v) for v in record]
    return None if isinstance(record, float) and not math.isfinite(record) else record


def with_ends(tree: Any) -> Any:
    """What `as_json` made, with the ends of intervals that have none as infinity again."""
    if isinstance(tree, dict):
        found = {name: with_ends(value) for name, value in tree.items()}
        if found.keys() == {"mean", "low", "high"}:
            ends = {"low": -math.inf, "high": math.inf}
            found |= {name: end for name, end in ends.items() if found[name] is None}
        return found
    return [with_ends(value) for value in tree] if isinstance(tree, list) else tree


@dataclass(frozen=True, slots=True)
class Failure:
    """A file, line or example that could not be used, and why."""

    where: str
    why: str


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float
