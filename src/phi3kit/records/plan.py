"""Memory, time and checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from phi3kit.records.common import Failure
from phi3kit.records.dataset import DatasetSize


@dataclass(frozen=True, slots=True)
class PlanChange:
    """A change of flags that makes a step smaller.

    Attributes:
        flags: as `phi3kit plan` takes them.
        saves: bytes, on each card.
        total: bytes that the step takes with it, on each card.
        fits: whether that fits the card.
    """

    flags: str
    saves: int
    total: int
    fits: bool


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Memory of one training step, by part, in bytes, and the cards that hold it.

    Attributes:
        parts: weights, adapter, gradients, optimizer, copies, activations, overhead; as
            expected. `low` and `high` have the same parts.
        total: of `parts`.
        gpus: number of GPUs needed by card size in GB, as expected; None when no number of
            them does. `gpus_low` and `gpus_high` go by the parts of that end.
        advice: what to change when it does not fit, in words; `changes` has the figures.
        assumptions: what the figures rest on, one sentence each.
        largest_batch: most rows of `context` tokens that fit the card; None when not even one
            does, or no card was named.
        longest_context: most tokens of `batch` rows each that fit the card, `context` or in steps
            of 256 up to the model's own; None likewise.
    """

    model: str
    parameters: int
    method: Literal["full", "lora", "qlora"]
    context: int
    batch: int
    parts: Mapping[str, int]
    total: int
    low: Mapping[str, int]
    high: Mapping[str, int]
    gpus: Mapping[str, int | None]
    gpus_low: Mapping[str, int | None]
    gpus_high: Mapping[str, int | None]
    fits: bool | None
    advice: tuple[str, ...]
    changes: tuple[PlanChange, ...]
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
class TrainingPlan:
    """Everything that `plan` says of a training.

    Attributes:
        plans: a method each.
        times: of the same methods, in their order; empty when no dataset was asked for.
        dataset: what the times are for.
        memory_gb: of the user's card; None when none was named.
        card: its name, when it was named by it.
        gpus: how many of these cards the plan is for.
        price: of an hour.
    """

    plans: tuple[MemoryPlan, ...]
    times: tuple[TimePlan, ...] = ()
    dataset: DatasetSize | None = None
    memory_gb: float | None = None
    card: str = ""
    price: float | None = None
    gpus: int = 1

    @property
    def nothing_fits(self) -> bool:
        """Whether a card was named and no method fits it."""
        return self.memory_gb is not None and not any(item.fits for item in self.plans)


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """What was planned for one training run beside what it took.

    Attributes:
        run: its folder.
        context, batch: tokens per row and rows of its fullest forward pass, padding included; on a
            CPU of all that it computed at once, as rows of equal width.
        memory_error: (planned - peak) / peak; resident memory on a CPU, allocated on a GPU.
        time_error: the same of the seconds; None where nothing predicts them.
        variants: what it had that the plan has no term for: "dora", "dropout", "packing" (its
            passes are counted, its mask is not), …; it is planned as if it had not.
        card: the GPU's name, as its driver gives it; "" on a CPU.
        processes: that trained it together; `sharded` when each held its share of the base.
        answers: share of its tokens that carried loss.
        tokens: real ones, over all epochs; `row` is the mean of an example.
        pass_tokens: that its forward passes could hold.
        float32: whether it computed in that, not in 16 bits.
        lanes: passes that it computed side by side, whose rows `batch` counts together.
    """

    run: str
    model: str
    method: Literal["full", "lora", "qlora"]
    rank: int
    context: int
    batch: int
    checkpointing: bool
    device: str
    planned_bytes: int
    peak_bytes: int
    memory_error: float
    planned_seconds: float | None
    seconds: float
    time_error: float | None
    variants: tuple[str, ...] = ()
    card: str = ""
    processes: int = 1
    sharded: bool = False
    answers: float = 1.0
    tokens: int = 0
    row: int = 1
    pass_tokens: int = 1
    float32: bool = False
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """The plan against training runs.

    Attributes:
        largest_memory_error: the row's that is farthest off; None without rows.
        skipped: runs that cannot be compared, and why.
    """

    rows: tuple[CalibrationRow, ...]
    largest_memory_error: float | None
    largest_time_error: float | None
    skipped: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `doctor` looked at. `ok` is None when it does not apply here."""

    name: str
    ok: bool | None
    found: str
    mend: str = ""
