"""Which layers are linear ones, that an adapter can be put on and that 4-bit rounding finds."""

from __future__ import annotations

from typing import Any


def is_linear(layer: Any) -> bool:
    """Whether a layer gives W x + b and nothing else.

    By its very class: routers of mixtures of experts are made from torch's and give a tuple
    (Phi-3.5-MoE, Llama 4). Falcon's own differs in rounding alone.
    """
    import torch

    kind = type(layer)
    if kind is torch.nn.Linear or kind.__name__ == "FalconLinear":
        return True
    return isinstance(layer, torch.nn.Linear) and kind.__module__.startswith("bitsandbytes.")
