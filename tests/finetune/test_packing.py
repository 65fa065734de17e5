"""Rows end to end: none sees the other, and what is learned is the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from facts_to_learn import Configure
from hypothesis import given
from hypothesis import strategies as st

from phi3kit.dataset.encode import IGNORED, Encoded
from phi3kit.errors import ModelError
from phi3kit.finetune.attention import short_rows
from phi3kit.finetune.batches import Collator
from phi3kit.finetune.loss import answer_loss
from phi3kit.finetune.packing import packs, refuse_if_seen
from phi3kit.finetune.train import finetune
from phi3kit.models.loading import Loaded


@given(st.lists(st.integers(1, 600), min_size=1, max_size=40), st.integers(1, 2000))
def test_every_row_is_in_one_pack_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = packs(lengths, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    sums = [sum(lengths[i] for i in group) for group in groups]
    assert all(total <= budget or len(group) == 1
               for total, group in zip(sums, groups, strict=True))
    assert sums == sorted(sums, reverse=True)


def row(length: int, answer: int, start: int) -> Encoded:
    ids = tuple(10 + (start * 13 + at * 7) % 200 for at in range(length))
    return Encoded(ids, (IGNORED,) * (length - answer) + ids[length - answer:])


def test_packed_rows_count_their_own_positions() -> None:
    batch = Collator(0, 32, packed=True)([row(5, 5, 0), row(20, 2, 1), row(9, 3, 2)])
    assert (batch["tokens"], batch["trained"]) == (34, 10)
    full, rest = batch["micro"]
    assert full["position_ids"].tolist() == [[*range(20), *range(9), *range(3)]]
    assert full["labels"][0, :18].tolist() == [IGNORED] * 18
    assert full["labels"][0, 29:].tolist() == [IGNORED] * 3  # the padding at the end
    assert rest["labels"][0, 0] == IGNORED  # nobody predicts a first token


def tiny(kind: str, phi3: Path) -> Loaded:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    if kind == "phi3":
        model = AutoModelForCausalLM.from_pretrained(phi3, dtype=torch.float32,
                                                     attn_implementation="sdpa")
    elif kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(
            vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512))
    else:
        from transformers import MambaConfig, MambaForCausalLM

        model = MambaForCausalLM(MambaConfig(vocab_size=300, hidden_size=32, state_size=8,
                                             num_hidden_layers=2))
    return Loaded(model=model.train(), tokenizer=None, name=kind, fingerprint="",
                  quantization="none", dtype="float32", device="cpu", spec=None, context=512)


@pytest.mark.parametrize("kind", ["phi3", "llama"])
def test_another_neighbour_changes_nothing_and_the_loss_is_the_same(kind: str,
                                                                    tiny_phi3: Path) -> None:
    import torch

    model = tiny(kind, tiny_phi3).model
    rows = [row(40, 9, 0), row(23, 4, 1), row(31, 6, 2)]

    def second(first: Encoded) -> Any:
        packed, = Collator(0, 512, packed=True)([first, rows[1]])["micro"]
        with torch.no_grad():
            return model(input_ids=packed["input_ids"], position_ids=packed["position_ids"],
                         use_cache=False).logits[0, 40:63]

    def losses(*, packed: bool) -> float:
        total = 0.0
        for micro in Collator(0, 512, packed=packed)(rows)["micro"]:
            with torch.no_grad():
                total += float(answer_loss(model, **micro))
        return total

    with short_rows(model):
        assert torch.equal(second(rows[0]), second(row(40, 9, 5)))
        with torch.no_grad():
            alone = model(input_ids=torch.tensor([rows[1].input_ids]), use_cache=False).logits[0]
        assert torch.allclose(second(rows[0]), alone, atol=1e-5)
        assert losses(packed=True) == pytest.approx(losses(packed=False), rel=1e-5)
        # And it is the positions that do it: counted through, the neighbour is seen.
        ids = torch.tensor([[*rows[0].input_ids, *rows[1].input_ids]])
        with torch.no_grad():
            through = model(input_ids=ids, use_cache=False).logits[0, 40:]
        assert not torch.allclose(through, alone, atol=1e-3)


@pytest.mark.parametrize("kind", ["phi3", "llama"])
def test_a_model_that_keeps_them_apart_passes(kind: str, tiny_phi3: Path) -> None:
    loaded = tiny(kind, tiny_phi3)
    refuse_if_seen(loaded)
    with short_rows(loaded.model):
        refuse_if_seen(loaded)


def test_a_model_that_cannot_is_refused(tiny_phi3: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be trained on packed.*--no-packing") as caught:
        refuse_if_seen(tiny("mamba", tiny_phi3))
    assert "\n" not in str(caught.value)


def test_one_that_counts_positions_itself_is_refused(tiny_phi3: Path) -> None:
    """Told where examples begin, and deaf to it: the first would be seen."""
    loaded = tiny("llama", tiny_phi3)
    forward = loaded.model.model.forward
    loaded.model.model.forward = lambda position_ids=None, **others: forward(**others)
    with pytest.raises(ModelError, match="an example changes what is computed for the next"):
        refuse_if_seen(loaded)


def test_a_packed_run_learns_the_same(configure: Configure, tmp_path: Path) -> None:
    plain = finetune(configure(epochs=2, learning_rate=1e-3))
    kept = shutil.copytree(plain.run, tmp_path / "plain")
    again = finetune(configure(epochs=2, learning_rate=1e-3, packing=True), fresh=True)
    assert again.run == plain.run and kept.is_dir()  # it differs by rounding only
    assert (again.tokens, again.trained_tokens) == (plain.tokens, plain.trained_tokens)
    assert again.losses == pytest.approx(plain.losses, abs=1e-5)
