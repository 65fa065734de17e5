"""Plain products answer as torch's own kernel does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from phi3kit.models import attention


@pytest.fixture
def model(tiny_phi3: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_phi3, dtype=torch.float32).eval()


def padded() -> tuple[Any, Any]:
    """Token IDs and mask of three rows, two of them with padding on the left."""
    import torch

    torch.manual_seed(0)
    ids, mask = torch.randint(10, 300, (3, 40)), torch.ones((3, 40), dtype=torch.long)
    mask[1, :7], mask[2, :33] = 0, 0
    return ids, mask


@pytest.mark.parametrize("at_once", [attention._AT_ONCE, 1])
def test_the_logits_are_those_of_torchs_kernel(model: Any, at_once: int,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    calls: list[int] = []
    products = attention._products
    monkeypatch.setattr(attention, "_AT_ONCE", at_once)
    monkeypatch.setattr(attention, "_products", lambda query, *args: (
        calls.append(len(query)), products(query, *args))[1])
    ids, mask = padded()
    with torch.inference_mode():
        wanted = model(input_ids=ids, attention_mask=mask).logits
        assert not calls
        with attention.grouped(model):
            found = model(input_ids=ids, attention_mask=mask).logits
        again = model(input_ids=ids, attention_mask=mask).logits
    assert calls == ([3] * 2 if at_once > 1 else [1] * 6)  # two layers
    real = mask.bool()
    assert torch.allclose(found[real], wanted[real], atol=1e-5)
    assert torch.equal(again, wanted)  # and it has its own back


def test_the_answers_are_those_of_torchs_kernel(model: Any) -> None:
    import torch

    ids, mask = padded()
    config = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    with torch.inference_mode():
        wanted = model.generate(input_ids=ids, attention_mask=mask, **config)
        with attention.grouped(model):
            found = model.generate(input_ids=ids, attention_mask=mask, **config)
    assert torch.equal(found, wanted)


def test_rows_with_too_many_scores_take_torchs_kernel(model: Any,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(attention, "_LONGEST", 4 * 40 * 40 - 1)
    monkeypatch.setattr(attention, "_products", None)
    ids, mask = padded()
    with torch.inference_mode(), attention.grouped(model):
        model(input_ids=ids, attention_mask=mask)


def test_another_attention_is_left_alone(model: Any) -> None:
    model.set_attn_implementation("eager")
    with attention.grouped(model):
        assert model.config._attn_implementation == "eager"
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize(("capability", "heads"), [((7, 5), 4), ((8, 0), 2), (None, 2)])
@pytest.mark.parametrize("rows", [1, 2])
def test_before_ampere_no_kernel_gets_grouped_heads(
    model: Any, rows: int, capability: Any, heads: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    ids = torch.randint(10, 300, (rows, 40), generator=torch.Generator().manual_seed(0))
    kernel, seen = torch.nn.functional.scaled_dot_product_attention, []

    def watched(query: Any, key: Any, value: Any, **others: Any) -> Any:
        seen.append((key.shape[1], value.shape[1], others.get("enable_gqa", False)))
        return kernel(query, key, value, **others)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    monkeypatch.setattr(attention, "_capability", lambda _: capability)
    wanted = model(input_ids=ids).logits
    seen.clear()
    with attention.repeated(model):
        found = model(input_ids=ids).logits
    assert set(seen) == {(heads, heads, heads == 2)}
    assert torch.allclose(found, wanted, atol=1e-5)
    seen.clear()
    model(input_ids=ids)
    assert set(seen) == {(2, 2, True)}  # and it has its own back
