"""Trying out the output layer leaves a 4-bit model as trainable as it was."""

from __future__ import annotations

from typing import Any

from facts_to_learn import Configure

from phi3kit.finetune.loss import answer_loss, has_plain_head
from phi3kit.models.adapters import add_lora
from phi3kit.models.loading import load_base


def gradients(configure: Configure, *, tried: bool) -> dict[str, Any]:
    """Of every adapter weight, through bitsandbytes' own layers."""
    import torch

    loaded = load_base(configure().model, quantization="nf4", training=True)
    add_lora(loaded, rank=4, alpha=8, dropout=0.0, seed=0)
    torch.manual_seed(0)
    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:  # while B is zero, A gets no gradient
            weight.data.normal_(std=0.02)
    if tried:
        assert has_plain_head(loaded.model)
    ids = torch.arange(200).reshape(2, 100)
    answer_loss(loaded.model, ids, ids.clone()).backward()
    return {n: p.grad for n, p in loaded.model.named_parameters() if p.requires_grad}


def test_gradients_are_the_same_after_the_trial(configure: Configure) -> None:
    import torch

    before, after = (gradients(configure, tried=tried) for tried in (False, True))
    for name, gradient in before.items():
        assert float(gradient.abs().max()) > 0, name
        assert torch.equal(gradient, after[name]), name
