"""The training step that a plan is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["full", "lora", "qlora"]
METHODS: tuple[Method, ...] = ("full", "lora", "qlora")

Place = Literal["gpu", "cpu"]

End = Literal["low", "expected", "high"]
ENDS: tuple[End, ...] = ("low", "expected", "high")


@dataclass(frozen=True, slots=True)
class Step:
    """One training step to plan for.

    Attributes:
        context: tokens per row.
        batch: rows per forward pass.
        rank: of the adapter; full fine-tuning has none.
        checkpointing: activations are recomputed in the backward pass, not kept.
        answers: share of the tokens that carry loss.
        place: "gpu", or "cpu" for the resident memory of the whole process.
        float32: the arithmetic, in place of 16 bits.
        lanes: passes of an adapter that a CPU computes side by side; `batch` holds the rows of
            all.
        shared: the frozen layers are shared out over processes, and gathered around the modules'
            own forward: what a CPU would compute leaner, or hold unpacked, it does not.
    """

    context: int = 2048
    batch: int = 1
    rank: int = 16
    checkpointing: bool = False
    answers: float = 1.0
    place: Place = "gpu"
    float32: bool = False
    lanes: int = 1
    shared: bool = False

    @property
    def number_bytes(self) -> int:
        """Of a number of the arithmetic, and of a weight that is not trained."""
        return 4 if self.float32 else 2

    @property
    def tokens(self) -> int:
        """Of a forward pass, padding included."""
        return self.context * self.batch
