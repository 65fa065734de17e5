"""The faster attention and loss compute what torch's own do, and are used where they can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phi3kit.finetune import attention
from phi3kit.finetune.attention import LONGEST, short_rows
from phi3kit.finetune.head import is_frozen, summed_loss
from phi3kit.finetune.loss import answer_loss
from phi3kit.models.adapters import add_lora
from phi3kit.models.loading import Loaded, load_base
from phi3kit.settings import ModelSettings


@pytest.fixture(scope="module")
def loaded(tiny_phi3: Path) -> Loaded:
    found = load_base(ModelSettings(name=str(tiny_phi3), dtype="float32", device="cpu"),
                      quantization="none", training=True)
    add_lora(found, rank=4, alpha=8, dropout=0.0, seed=0)
    return found


def heads(rows: int, heads: int, shared: int, length: int, dtype: Any) -> list[Any]:
    import torch

    torch.manual_seed(length)
    # As projections leave them: not contiguous.
    return [torch.randn(rows, length, n, 16, dtype=dtype).transpose(1, 2).requires_grad_()
            for n in (heads, shared, shared)]


@pytest.mark.parametrize("shared", [1, 2, 6])
@pytest.mark.parametrize("length", [1, 2, 37, LONGEST])
def test_attention_and_its_gradients_are_those_of_torch(shared: int, length: int) -> None:
    import torch

    given = heads(2, 6, shared, length, torch.float64)
    weights = torch.randn(2, length, 6, 16, dtype=torch.float64)
    out, none = attention._attend(torch.nn.Module(), *given, None, scaling=0.3)
    found = torch.autograd.grad((out * weights).sum(), given)
    wanted = torch.nn.functional.scaled_dot_product_attention(
        *given, is_causal=True, scale=0.3, enable_gqa=True).transpose(1, 2)
    assert none is None
    assert torch.allclose(out, wanted, atol=1e-12)
    for one, other in zip(found, torch.autograd.grad((wanted * weights).sum(), given),
                          strict=True):
        assert torch.allclose(one, other, atol=1e-10)


@pytest.mark.parametrize("change", [
    {"attention_mask": "full"}, {"dropout": 0.5}, {"is_causal": False}])
def test_what_the_products_do_not_know_is_left_to_torch(
        change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(attention, "_product", lambda: pytest.fail("not for the products"))
    given = heads(1, 2, 2, 5, torch.float32)
    if "attention_mask" in change:
        change = {"attention_mask": torch.ones(1, 1, 5, 5, dtype=torch.bool)}
    out, _ = attention._attend(torch.nn.Module(), *given, **{"attention_mask": None, **change})
    assert out.shape == (1, 5, 2, 16)


def test_it_is_used_while_training_and_only_then(loaded: Loaded,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    ids = torch.randint(0, 300, (3, 20))
    product, calls = attention._product(), []

    class Counted:
        @staticmethod
        def apply(*given: Any) -> Any:
            calls.append(given)
            return product.apply(*given)

    monkeypatch.setattr(attention, "_product", lambda: Counted)
    plain = answer_loss(loaded.model, ids, ids.clone())
    plain.backward()
    wanted = {name: p.grad.clone() for name, p in loaded.model.named_parameters()
              if p.grad is not None}
    loaded.model.zero_grad()
    with short_rows(loaded.model):
        short = answer_loss(loaded.model, ids, ids.clone())
        short.backward()
    assert len(calls) == 2  # layers
    assert short.item() == pytest.approx(plain.item(), rel=1e-6)
    assert wanted
    for name, p in loaded.model.named_parameters():
        if name in wanted:
            assert torch.allclose(p.grad, wanted[name], atol=1e-5), name
    loaded.model.zero_grad()
    answer_loss(loaded.model, ids, ids.clone())
    assert len(calls) == 2
    assert loaded.model.config._attn_implementation == "sdpa"


def test_a_row_sees_nothing_behind_it(loaded: Loaded) -> None:
    import torch

    ids = torch.randint(0, 300, (1, 12))
    changed = ids.clone()
    changed[0, 8:] = torch.randint(0, 300, (4,))
    with short_rows(loaded.model), torch.no_grad():
        one, other = (loaded.model(input_ids=x).logits[0, :8] for x in (ids, changed))
    assert torch.equal(one, other)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tokens", [0, 1, 700])
def test_the_loss_behind_a_frozen_head(tokens: int, bias: bool,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from phi3kit.finetune import head as room

    monkeypatch.setattr(room, "_AT_ONCE", 50 * 64)  # 64 tokens at once
    torch.manual_seed(1)
    head = torch.nn.Linear(8, 50, bias=bias).requires_grad_(False)
    hidden = torch.randn(tokens, 8, requires_grad=True)
    targets = torch.randint(0, 50, (tokens,))
    found = summed_loss(head, hidden, targets) / 7
    slope, = torch.autograd.grad(found, hidden)
    wanted = torch.nn.functional.cross_entropy(head(hidden), targets, reduction="sum") / 7
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert torch.allclose(slope, torch.autograd.grad(wanted, hidden)[0], atol=1e-6)


def test_a_head_that_is_trained_keeps_its_gradients() -> None:
    import torch

    head = torch.nn.Linear(4, 5)
    assert not is_frozen(head)
    head.requires_grad_(False)
    assert is_frozen(head)
    head.bias.requires_grad_()
    assert not is_frozen(head)
