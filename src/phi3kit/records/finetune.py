"""What a training run was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from phi3kit.records.common import Failure
from phi3kit.records.dataset import DataDigest
from phi3kit.records.plan import CalibrationRow


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a training run made.

    Attributes:
        run: the run folder; the adapter lies in `<run>/adapter`, a whole model in `<run>/model`.
        method: "full" trained every weight of the base.
        variants: what else is not plain LoRA: "rslora", "dora", "pissa", "loftq".
        format: the dataset format that was detected.
        examples: examples trained on; `skipped` lists those that could not be used.
        trained_tokens: answer tokens that carried loss, over all epochs.
        tokens: real (unpadded) tokens processed, over all epochs.
        losses: mean loss per optimizer step, in order.
        final_loss: mean over the trained tokens of the last tenth of the steps.
        peak_memory_bytes: peak resident memory (CPU) or allocated memory (CUDA).
        micro_batch_tokens: that a forward pass could hold, as set or as chosen by the device; None
            in runs of before that was recorded.
        data: what was found in the examples before training; None in runs of before that.
        planned: what `plan` says of it beside what it took; None in runs of before that, and
            for a model whose shape `plan` does not know.
    """

    run: str
    base: str
    base_fingerprint: str
    method: Literal["lora", "qlora", "full"]
    format: str
    examples: int
    skipped: tuple[Failure, ...]
    epochs: float
    steps: int
    tokens: int
    trained_tokens: int
    losses: tuple[float, ...]
    final_loss: float
    trainable_parameters: int
    target_modules: tuple[str, ...]
    seconds: float
    peak_memory_bytes: int
    reused: bool = False
    variants: tuple[str, ...] = ()
    data: DataDigest | None = None
    planned: CalibrationRow | None = None
    micro_batch_tokens: int | None = None
