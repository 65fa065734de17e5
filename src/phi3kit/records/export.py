"""A trained model on its way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Target = Literal["merged", "gguf", "ollama", "vllm"]
TARGETS: tuple[Target, ...] = ("merged", "gguf", "ollama", "vllm")


@dataclass(frozen=True, slots=True)
class ExportStage:
    """One form of the trained model, measured on the same examples as the others.

    Attributes:
        name: "as trained", "merged (bfloat16)", "GGUF (q8_0)", …
        loss: mean loss per answer token, in nats.
        same_tokens: share, 0 to 1, of the answer tokens before which this form and the one
            before it hold the same token for the likeliest; None for the first.
        same_answers: prompts that both answered word for word alike; None for the first.
    """

    name: str
    loss: float
    same_tokens: float | None
    same_answers: int | None


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and how it compares with what was trained.

    Attributes:
        target: one of TARGETS.
        out: the folder that was written; "" where nothing was.
        run: the run folder that it comes from; `method` is how that was trained.
        examples: number of examples that the losses are over, from the file `measured_on`.
        seen: whether the model was trained on one of those examples; None where its training
            data are gone or have changed, so that nothing tells.
        prompts: how many of them were answered as well.
        stages: the model as trained first, the export, loaded again, last.
        limit: how far, in nats, the last loss may be above the first.
        files: names of the files in `out`.
        command: how to use it, for a shell.
        notes: what has to be known about it.
    """

    target: Target
    out: str
    run: str
    base: str
    method: Literal["lora", "qlora", "full"]
    measured_on: str
    seen: bool | None
    examples: int
    prompts: int
    stages: tuple[ExportStage, ...]
    limit: float
    files: tuple[str, ...]
    command: str
    seconds: float
    notes: tuple[str, ...] = ()
