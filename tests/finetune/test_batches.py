from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from adapted_model import base
from hypothesis import given
from hypothesis import strategies as st

from phi3kit.dataset.encode import IGNORED, Encoded
from phi3kit.finetune.batches import Collator, micro_batches
from phi3kit.finetune.fused import fuse, unfuse
from phi3kit.finetune.loss import answer_loss, has_plain_head
from phi3kit.models.adapters import add_lora
from phi3kit.models.loading import Loaded, load_base
from phi3kit.settings import ModelSettings


@given(st.lists(st.integers(1, 600), min_size=1, max_size=40), st.integers(1, 2000))
def test_every_row_is_in_one_group_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = micro_batches(lengths, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        width = max(lengths[i] for i in group)
        assert len(group) == 1 or width * len(group) <= budget
    widths = [max(lengths[i] for i in group) for group in groups]
    assert widths == sorted(widths, reverse=True)


def encoded(length: int, answer: int, *, shift: int = 0) -> Encoded:
    ids = tuple(range(10 + shift, 10 + shift + length))
    return Encoded(ids, (IGNORED,) * (length - answer) + ids[length - answer:])


def test_collated_rows_are_padded_without_labels() -> None:
    batch = Collator(0, 32)([encoded(5, 2), encoded(3, 1), encoded(4, 1)])
    assert (batch["tokens"], batch["trained"]) == (12, 4)
    assert [tuple(m["input_ids"].shape) for m in batch["micro"]] == [(2, 16), (1, 16)]
    assert batch["micro"][0]["labels"].tolist()[1] == [*[IGNORED] * 2, 12, *[IGNORED] * 13]


def test_widths_are_few() -> None:
    """A shape that was met before costs no set-up."""
    batch = Collator(0, 1)([encoded(length, 1) for length in range(1, 65)])
    assert {m["input_ids"].shape[1] for m in batch["micro"]} == {16, 32, 48, 64}


def gradients(loaded: Loaded, batch: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    loaded.model.zero_grad()
    loss = sum(answer_loss(loaded.model, **micro) for micro in batch["micro"]) / batch["trained"]
    loss.backward()
    return float(loss.detach()), {n: p.grad.clone() for n, p in loaded.model.named_parameters()
                         if p.requires_grad}


ROWS = [encoded(40, 9), encoded(17, 4, shift=30), encoded(33, 12, shift=60), encoded(8, 2)]


def test_padding_and_splitting_do_not_change_the_gradients(learner: Path) -> None:
    import torch

    loaded = base(learner)
    big_loss, big = gradients(loaded, Collator(0, 10_000)(ROWS))
    small_loss, small = gradients(loaded, Collator(7, 40)(ROWS))
    assert abs(big_loss - small_loss) < 1e-5
    for name, grad in big.items():
        torch.testing.assert_close(small[name], grad, atol=1e-5, rtol=1e-4)


def test_the_loss_is_the_models_own(learner: Path) -> None:
    """Against transformers: whole logits, attention mask, its own shifted cross entropy."""
    import torch

    loaded = base(learner)
    assert has_plain_head(loaded.model)
    batch = Collator(0, 10_000)(ROWS)
    [micro] = batch["micro"]
    mask = torch.zeros_like(micro["input_ids"])
    for row, length in enumerate(sorted((len(r.input_ids) for r in ROWS), reverse=True)):
        mask[row, :length] = 1
    theirs = loaded.model(**micro, attention_mask=mask).loss
    ours = answer_loss(loaded.model, **micro) / batch["trained"]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_logits_that_the_model_scales_itself() -> None:
    import torch
    from transformers import GraniteConfig, GraniteForCausalLM

    torch.manual_seed(0)
    model = GraniteForCausalLM(GraniteConfig(
        vocab_size=200, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, logits_scaling=4.0))
    assert not has_plain_head(model)
    [micro] = Collator(0, 10_000)(ROWS[:1])["micro"]
    ours = answer_loss(model, **micro, plain_head=False) / ROWS[0].trained
    torch.testing.assert_close(ours, model(**micro).loss)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_the_fused_layers_compute_what_peft_computes(learner: Path, quantization: str) -> None:
    import torch

    loaded = base(learner, quantization)
    batch = Collator(0, 64)(ROWS)
    loss, plain = gradients(loaded, batch)
    assert fuse(loaded.model) == 2 * 4  # two layers: qkv, o, gate_up, down
    fused_loss, fused = gradients(loaded, batch)
    unfuse(loaded.model)
    again, _ = gradients(loaded, batch)
    assert abs(fused_loss - loss) < 1e-4
    assert again == loss
    for name, grad in plain.items():
        torch.testing.assert_close(fused[name], grad, atol=1e-4, rtol=1e-3)


def test_layers_with_dropout_keep_their_own_forward(learner: Path) -> None:
    loaded = load_base(ModelSettings(name=str(learner), device="cpu", dtype="float32"),
                       quantization="none", training=True)
    add_lora(loaded, rank=4, alpha=8, dropout=0.1, seed=0)
    assert fuse(loaded.model) == 0


def test_padding_alone_does_not_fill_a_window() -> None:
    """From a window's width on transformers gives a model's attention a mask."""
    rows = [encoded(40, 1), encoded(38, 1), encoded(45, 1)]

    def widths(window: int | None) -> list[int]:
        batch = Collator(0, 1, window=window)(rows)
        return [micro["input_ids"].shape[1] for micro in batch["micro"]]

    assert widths(None) == [48, 48, 48]
    assert widths(48) == [47, 47, 47]
    assert widths(45) == [48, 44, 44]  # the first one fills it by itself
