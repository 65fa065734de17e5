"""The plan's activation factors, against the storages that the training code really holds."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi3kit.finetune.elementwise import fewer_passes
from phi3kit.models.catalog import CATALOG
from phi3kit.plan.activations import (
    ATTENTION_BLOCK,
    ATTENTION_KEPT_UP_TO,
    LOGITS_AT_ONCE,
    UNPACKED_UP_TO,
    _layer,
    backward_of_a_layer,
    layer_activations,
)
from phi3kit.plan.passes import UNCOUNTED
from phi3kit.plan.shapes import Shape, _shape, shape_of
from phi3kit.plan.step import Step

# Small, for a CPU without bfloat16 takes long over it; the rank and the heads in proportion.
HIDDEN, INTERMEDIATE, HEADS, VOCAB, RANK = 256, 512, 4, 128, 8
FEW_HEADS = 1  # of keys and values
SHORT, LONG = 64, 128
# Decoders without a gate, and what keeps them from having dropout.
UNGATED_KINDS: dict[str, dict[str, Any]] = {
    "gpt_neox": {}, "nemotron": {"head_dim": HIDDEN // HEADS}, "persimmon": {},
    "phi": {"resid_pdrop": 0.0},
    "starcoder2": {"residual_dropout": 0.0, "embedding_dropout": 0.0}}


def held_bytes(spec_name: str, kv_heads: int, layers: int, tokens: int, *,
               checkpointing: bool = False, attention: Any = nullcontext, full: bool = False,
               dtype: str = "bfloat16", inner: int = INTERMEDIATE, backward: bool = False,
               **adapter: Any) -> int:
    """Bytes alive between forward and backward, weights and gradients left out.

    Or, with `backward`, how many more at its fullest moment.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        LlamaConfig,
        LlamaForCausalLM,
        Phi3Config,
        Phi3ForCausalLM,
    )

    from phi3kit.finetune import fused
    from phi3kit.finetune.loss import answer_loss
    from phi3kit.models.adapters import add_lora
    from phi3kit.models.loading import Loaded

    class Held(TorchDispatchMode):
        """Counts every new storage while it lives."""

        live = most = 0

        def __init__(self) -> None:
            super().__init__()
            self.known: set[int] = set()

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (),
                               kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs))
                     if isinstance(t, torch.Tensor)}
            for tensor in tree_leaves(out):
                if not isinstance(tensor, torch.Tensor):
                    continue
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in given and key not in self.known:
                    self.known.add(key)
                    self.live += storage.nbytes()
                    self.most = max(self.most, self.live)
                    weakref.finalize(storage, self.gone, key, storage.nbytes())
            return out

        def gone(self, key: int, size: int) -> None:
            self.known.discard(key)
            self.live -= size

    common = {
        "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": inner,
        "num_hidden_layers": layers, "num_attention_heads": HEADS,
        "num_key_value_heads": kv_heads, "max_position_embeddings": 512,
        "tie_word_embeddings": False, "attn_implementation": "sdpa"}
    torch.manual_seed(0)
    if spec_name == "phi-3-mini":
        model = Phi3ForCausalLM(Phi3Config(
            **common, original_max_position_embeddings=512, pad_token_id=0, bos_token_id=1,
            eos_token_id=2))
    elif spec_name in CATALOG:
        model = LlamaForCausalLM(LlamaConfig(**common))
    else:
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(
            spec_name, **common, **UNGATED_KINDS[spec_name]))
    loaded = Loaded(model=model.to(getattr(torch, dtype)), tokenizer=None, name="made here",
                    fingerprint="", quantization="none", dtype=dtype, device="cpu",
                    spec=CATALOG.get(spec_name), context=512)
    if full:
        adapted = model.float().train()
    else:
        adapted = add_lora(loaded, **{"rank": RANK, "alpha": 32, "dropout": 0.0, "seed": 0,
                                      **adapter})
    fused.fuse(adapted)
    if checkpointing:
        adapted.activation_checkpointing_enable({"use_reentrant": False})
    ids = torch.randint(0, VOCAB, (1, tokens))
    with attention(adapted):
        with Held() as held:
            loss = answer_loss(adapted, ids, ids.clone())
            count = held.most = held.live
            if backward:
                loss.backward()
                return held.most - count
        loss.backward()  # so that all of it was really needed
    return count


def shape(kv_heads: int, fused: bool) -> Shape:
    return _shape("made here", hidden=HIDDEN, layers=1, heads=HEADS, kv_heads=kv_heads,
                  intermediate=INTERMEDIATE, vocab=VOCAB, fused=fused, parameters=0, context=512)


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("kv_heads", [HEADS, FEW_HEADS])
@pytest.mark.parametrize("spec_name", ["phi-3-mini", "smollm2-135m"])
def test_a_layer_holds_what_the_plan_says(spec_name: str, kv_heads: int, dtype: str,
                                          lean: bool) -> None:
    def per_token(layers: int) -> float:
        short, long = (held_bytes(spec_name, kv_heads, layers, t, dtype=dtype,
                                  attention=fewer_passes if lean else nullcontext)
                       for t in (SHORT, LONG))
        return (long - short) / (LONG - SHORT)

    counted = (per_token(3) - per_token(1)) / 2
    planned = layer_activations(shape(kv_heads, fused=spec_name == "phi-3-mini"),
                                float32=dtype == "float32", lean=lean)
    # What is left: A's images (rank numbers per module) and a number per head and norm.
    size = 4 if dtype == "float32" else 2
    images = size * RANK * (4 if spec_name == "phi-3-mini" else 7) if lean else 0
    assert planned == pytest.approx(counted - images, rel=0.01 if lean else 0.02)
    assert counted - planned < size * RANK * 7 + 4 * HEADS + 16


@pytest.mark.parametrize("inner", [INTERMEDIATE, 4 * HIDDEN])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("spec_name", ["phi-3-mini", "smollm2-135m"])
def test_and_its_backward_takes_what_the_plan_says_where_it_keeps_less(
    spec_name: str, dtype: str, inner: int,
) -> None:
    """A cast of one layer's adapter is among it, and the gradients of one."""
    short, long = (held_bytes(spec_name, FEW_HEADS, 3, tokens, dtype=dtype, inner=inner,
                              attention=fewer_passes, backward=True) for tokens in (256, 384))
    model = replace(shape(FEW_HEADS, fused=spec_name == "phi-3-mini"), intermediate=inner)
    assert (long - short) / 128 == pytest.approx(
        backward_of_a_layer(model, float32=dtype == "float32", lean=True), rel=0.02)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("kind", UNGATED_KINDS)
def test_so_does_a_layer_without_a_gate_nearly(kind: str, dtype: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({
        "model_type": kind, "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size":
        4 * HIDDEN, "num_hidden_layers": 1, "num_attention_heads": HEADS}))
    counted = [held_bytes(kind, HEADS, layers, tokens, dtype=dtype, inner=4 * HIDDEN)
               for layers in (1, 3) for tokens in (SHORT, LONG)]
    per_token = ((counted[3] - counted[2]) - (counted[1] - counted[0])) / 2 / (LONG - SHORT)
    planned = layer_activations(shape_of(str(tmp_path)), float32=dtype == "float32")
    assert planned == pytest.approx(per_token, rel=0.13)


@pytest.mark.parametrize(("dtype", "size"), [("bfloat16", 2), ("float32", 4)])
@pytest.mark.parametrize("spec_name", ["phi-3-mini", "smollm2-135m"])
def test_with_checkpointing_a_layer_holds_its_input(
    spec_name: str, dtype: str, size: int,
) -> None:
    def per_token(layers: int) -> float:
        short, long = (held_bytes(spec_name, FEW_HEADS, layers, t, checkpointing=True, dtype=dtype)
                       for t in (SHORT, LONG))
        return (long - short) / (LONG - SHORT)

    assert (per_token(3) - per_token(1)) / 2 == pytest.approx(size * HIDDEN, rel=0.02)


@pytest.mark.parametrize(("kv_heads", "dtype"), [
    (HEADS, "bfloat16"), (FEW_HEADS, "bfloat16"), (FEW_HEADS, "float32")])
def test_on_a_cpu_short_rows_hold_their_attention_matrix(kv_heads: int, dtype: str) -> None:
    from phi3kit.finetune.attention import short_rows

    @contextmanager
    def as_it_trains(model: Any) -> Iterator[None]:
        with short_rows(model), fewer_passes(model):
            yield

    def of_a_layer(tokens: int) -> float:
        # The causal mask is made once for a length, and kept: not by these two.
        held_bytes("smollm2-135m", kv_heads, 1, tokens, attention=as_it_trains,
                   dtype=dtype)
        three, one = (held_bytes("smollm2-135m", kv_heads, layers, tokens, dtype=dtype,
                                 attention=as_it_trains) for layers in (3, 1))
        return (three - one) / 2

    for tokens in (SHORT, LONG, 3 * LONG):
        step = Step(context=tokens, place="cpu", float32=dtype == "float32")
        planned = _layer(shape(kv_heads, fused=False), step, lean=True) * tokens
        cast = 0 if step.float32 else 2 * RANK * sum(shape(kv_heads, fused=False).linear_widths)
        assert planned + cast == pytest.approx(of_a_layer(tokens), rel=0.03)


def in_16_bits(model: Any) -> Any:
    import torch

    return torch.autocast("cpu", torch.bfloat16)


WAYS: dict[str, dict[str, Any]] = {"full": {"full": True, "attention": in_16_bits},
                                   "dora": {"dora": True}, "dropout": {"dropout": 0.1}}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("spec_name", ["phi-3-mini", "smollm2-135m"])
@pytest.mark.parametrize("way", UNCOUNTED)
def test_a_pass_is_chosen_with_room_for_what_the_plan_has_no_term_for(
    way: str, spec_name: str, checkpointing: bool,
) -> None:
    def per_token(layers: int) -> float:
        short, long = (held_bytes(spec_name, FEW_HEADS, layers, t, checkpointing=checkpointing,
                                  **WAYS[way]) for t in (SHORT, LONG))
        return (long - short) / (LONG - SHORT)

    counted = (per_token(3) - per_token(1)) / 2
    planned = 2 * HIDDEN if checkpointing else layer_activations(
        shape(FEW_HEADS, fused=spec_name == "phi-3-mini"))
    assert counted <= (1 + UNCOUNTED[way]) * planned
    if not checkpointing:  # else it would be added for nothing
        assert counted > 1.15 * planned


def test_what_the_training_code_is_said_to_do_it_does() -> None:
    from phi3kit.finetune import attention, fused, head

    assert attention.LONGEST == ATTENTION_KEPT_UP_TO
    assert attention._BLOCK == ATTENTION_BLOCK
    assert head._AT_ONCE == LOGITS_AT_ONCE
    assert fused._HELD_BYTES == UNPACKED_UP_TO
