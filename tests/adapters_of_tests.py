"""Adapters on a tiny model, without training it."""

from __future__ import annotations

from pathlib import Path

from phi3kit.settings import ModelSettings


def make_adapter(tiny_phi3: Path, folder: Path, *, seed: int) -> Path:
    """An adapter with random weights; other seeds, other answers."""
    import torch

    from phi3kit.models import adapters
    from phi3kit.models.loading import load_base

    loaded = load_base(ModelSettings(name=str(tiny_phi3), device="cpu", dtype="float32"),
                       quantization="none", training=True)
    model = adapters.add_lora(loaded, rank=4, alpha=32, dropout=0.0, seed=1)
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    adapters.save(loaded, folder, run="tuned", instruction="Answer.")
    return folder
