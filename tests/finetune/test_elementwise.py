"""Norms and gated units compute what the model's own do, and only where that is known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from phi3kit.finetune import elementwise
from phi3kit.finetune.elementwise import fewer_passes
from phi3kit.finetune.loss import answer_loss
from phi3kit.models.adapters import add_lora
from phi3kit.models.dropout import switch_off
from phi3kit.models.loading import load_base
from phi3kit.plan.gated import GATED
from phi3kit.settings import ModelSettings

SIZES = {"vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 96,
         "num_attention_heads": 8, "num_key_value_heads": 2, "pad_token_id": 0,
         "bos_token_id": 1, "eos_token_id": 2}
# What its class cannot be built without, or is built otherwise.
OWN = {"helium": {"num_attention_heads": 4, "head_dim": 16}, "hunyuan_v1_dense": {"head_dim": 8},
       "ministral": {"head_dim": 8}}


def made(kind: str, dtype: str = "float32", **more: Any) -> Any:
    """A frozen model of this kind, with norms that do something."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, **SIZES | OWN.get(kind, {}) | more)).to(getattr(torch, dtype))
    for weight in model.parameters():
        weight.requires_grad_(False)
        if weight.dim() == 1:
            weight.copy_(1 + 0.3 * torch.randn_like(weight))
    return model


def changed(model: Any) -> Counter[str]:
    return Counter(type(module).__name__ for module in model.modules()
                   if "forward" in vars(module))


@pytest.mark.parametrize("kind", GATED)
def test_a_model_computes_the_same_and_the_plan_knows_which_keep_less(kind: str) -> None:
    import torch

    model = made(kind)
    model.train()
    switch_off(model)  # as `add_adapter` does
    ids = torch.arange(3, 23)[None]
    torch.manual_seed(1)
    before = model(ids).logits
    with fewer_passes(model):
        found = changed(model)
        torch.manual_seed(1)
        assert torch.allclose(model(ids).logits, before, atol=1e-5)
    assert not changed(model)
    units, norms = (sum(count for name, count in found.items() if name.endswith(end))
                    for end in ("MLP", "RMSNorm"))
    assert (units > 0 and norms >= 2) == GATED[kind].plain


@pytest.mark.parametrize("kind", ["gemma", "gemma2"])
def test_norms_that_shift_and_other_gates_are_left_alone(kind: str) -> None:
    with fewer_passes(model := made(kind)):
        assert not changed(model)


def test_a_norm_that_trains_or_takes_more_is_left_alone() -> None:
    import torch
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    class TakesMoreRMSNorm(LlamaRMSNorm):  # type: ignore[misc]
        def forward(self, hidden_states: Any, residual: Any = None) -> Any:
            return super().forward(hidden_states)

    trains, more, plain = LlamaRMSNorm(8), TakesMoreRMSNorm(8), LlamaRMSNorm(8)
    for norm in (more, plain):
        norm.weight.requires_grad_(False)
    with fewer_passes(torch.nn.ModuleList([trains, more, plain])):
        assert ["forward" in vars(norm) for norm in (trains, more, plain)] == [False, False, True]


def test_what_only_looks_alike_is_left_alone() -> None:
    import torch
    from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

    class ClampedMLP(LlamaMLP):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return self.down_proj(self.act_fn(self.gate_proj(x)).clamp(max=10.0) * self.up_proj(x))

    class CastsLastRMSNorm(LlamaRMSNorm):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            wide = x.float()
            rate = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
            return (self.weight * (wide * rate)).to(x.dtype)

    class FailsRMSNorm(LlamaRMSNorm):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            raise ValueError("not so")

    config = made("llama").config
    modules = [ClampedMLP(config), CastsLastRMSNorm(8), FailsRMSNorm(8),
               LlamaMLP(config).to(torch.bfloat16)]
    for weight in (p for module in modules for p in module.parameters()):
        weight.requires_grad_(False)
    with fewer_passes(torch.nn.ModuleList(modules)):
        assert ["forward" in vars(module) for module in modules] == [False, False, False, True]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_gradients_are_as_good_as_autograds(kind: str, dtype: str) -> None:
    """Against the same in float64: not farther from it than what transformers' own gives."""
    import torch

    model = made(kind, dtype)
    layer = model.model.layers[0]
    for module in (layer.input_layernorm, layer.mlp):
        x = torch.randn(2, 30, 64, dtype=getattr(torch, dtype)).requires_grad_()
        slope = torch.randn_like(x)
        own, = torch.autograd.grad(module(x), x, slope)
        with fewer_passes(model):
            assert "forward" in vars(module)
            out = module(x)
            found, = torch.autograd.grad(out, x, slope)
        assert out.dtype == found.dtype == x.dtype
        if module is layer.input_layernorm:
            wide = x.detach().double().requires_grad_()
            scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True)
                                        + module.variance_epsilon)
            exact, = torch.autograd.grad(module.weight.double() * scaled, wide, slope.double())
            assert (found - exact).abs().mean() <= 1.5 * (own - exact).abs().mean()
        else:
            torch.testing.assert_close(found, own)


def test_an_input_in_float32_is_not_written_over() -> None:
    import torch

    model = made("llama")
    norm, mlp = model.model.layers[0].input_layernorm, model.model.layers[0].mlp
    x = torch.randn(1, 5, 64).requires_grad_()
    kept = x.detach().clone()
    slope = torch.ones(1, 5, 64)
    with fewer_passes(model):
        for module in (norm, mlp):
            torch.autograd.grad(module(x), x, slope)
            assert torch.equal(x, kept) and torch.equal(slope, torch.ones(1, 5, 64))


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_loss_and_its_gradients_are_the_same(tiny_phi3: Path, quantization: Any) -> None:
    import torch

    loaded = load_base(ModelSettings(name=str(tiny_phi3), dtype="float32", device="cpu"),
                       quantization=quantization, training=True)
    add_lora(loaded, rank=4, alpha=8, dropout=0.0, seed=0)
    trained = [p for p in loaded.model.parameters() if p.requires_grad]
    ids = torch.arange(3, 60)[None]

    def graded() -> tuple[Any, Any]:
        loss = answer_loss(loaded.model, ids, ids.clone())
        return loss, torch.autograd.grad(loss, trained)

    loss, gradients = graded()
    with fewer_passes(loaded.model):
        assert {name[-3:] for name in changed(loaded.model)} == {"MLP", "orm"}
        other, others = graded()
    assert float(other) == pytest.approx(float(loss), rel=1e-6)
    for one, two in zip(gradients, others, strict=True):
        assert torch.allclose(one, two, atol=1e-5, rtol=1e-4)


def test_training_uses_it_for_adapters_alone(
    configure: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:
    from phi3kit.finetune.train import finetune

    used: list[int] = []
    alike = elementwise._alike

    def counted(model: Any) -> Any:
        found = list(alike(model))
        used.append(len(found))
        return found

    monkeypatch.setattr(elementwise, "_alike", counted)
    finetune(configure(epochs=1))
    assert used and used[0] > 0
    finetune(configure(epochs=1, full=True, learning_rate=1e-4))
    assert len(used) == 1


def test_weights_that_are_shared_out_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("llama")
    monkeypatch.setattr(elementwise, "is_shared_out", lambda weight: True)
    with fewer_passes(model):
        assert not changed(model)
