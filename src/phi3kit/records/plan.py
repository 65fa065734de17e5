"""Memory, time and checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


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
