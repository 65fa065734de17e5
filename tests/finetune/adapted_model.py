"""A model with an adapter of which every weight has a gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phi3kit.models.adapters import add_lora
from phi3kit.models.loading import Loaded, load_base
from phi3kit.settings import ModelSettings


def base(folder: Path, quantization: Any = "none", dtype: Any = "float32") -> Loaded:
    loaded = load_base(ModelSettings(name=str(folder), device="cpu", dtype=dtype),
                       quantization=quantization, training=True)
    add_lora(loaded, rank=4, alpha=8, dropout=0.0, seed=0)
    import torch

    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:  # zero at first: then A would have no gradient
            torch.nn.init.normal_(weight, std=0.05,
                                  generator=torch.Generator().manual_seed(len(name)))
    return loaded
