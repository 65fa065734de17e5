"""What a forward pass may hold on this very machine, as `plan.passes` chooses it."""

from __future__ import annotations

import contextlib

from msgspec.structs import replace

from phi3kit.errors import ModelError
from phi3kit.finetune.batches import padded_width
from phi3kit.finetune.lanes import lanes_here
from phi3kit.finetune.methods import computes_in, method
from phi3kit.finetune.processes import launched
from phi3kit.models.bases import is_here
from phi3kit.models.catalog import find
from phi3kit.models.hardware import free_memory, pick_device
from phi3kit.plan.passes import Pass, choose_pass
from phi3kit.plan.shapes import shape_of
from phi3kit.settings import Settings


def pass_here(values: Settings, device: str, free: int | None, *, longest: int,
              processes: int, hub: bool = True) -> Pass:
    """The choice for a training; the same in each of its processes if `free` is.

    Args:
        values: its settings.
        device: "cpu", "cuda" or "mps".
        free: see `free_memory`, before the base is loaded; of a CPU's all processes have a part.
        longest: tokens of the longest example.
        processes: that share the micro-batches of a step out.
        hub: whether a config.json that is not here may be fetched for the model's shape.
    """
    own, model, shape = values.finetune, values.model, None
    on_card, lanes = device == "cuda", 1
    if device == "cpu":
        lanes = lanes_here(full=own.full, dropout=own.dropout)
        free = None if free is None else free // processes
        values = replace(values, model=replace(
            model, dtype=computes_in(model.dtype, device, full=own.full)))
    if (on_card or lanes > 1) and own.micro_batch_tokens is None:
        with contextlib.suppress(ModelError):  # such as a mixture of experts
            if hub or find(model.name) or is_here(model.name, model.revision):
                shape = shape_of(model.name, model.revision)
    return choose_pass(
        values, method(own), shape, longest=padded_width(longest),
        place="gpu" if on_card else "cpu", memory=free, cards=processes,
        shared=own.shard and processes > 1, lanes=lanes)


def pass_ahead(values: Settings) -> Pass:
    """What it would be if training started now, with examples of `finetune.max_tokens`.

    No hub is asked.

    Raises:
        ModelError: the device that is asked for is not there.
    """
    device = pick_device(values.model.device)
    return pass_here(values, device, free_memory(device), longest=values.finetune.max_tokens,
                     processes=launched().size, hub=False)
