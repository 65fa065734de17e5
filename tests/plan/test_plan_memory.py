"""The arithmetic of `plan`: parts, cards, and the worked example in the docs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from phi3kit.errors import ModelError
from phi3kit.models.catalog import CATALOG
from phi3kit.plan.memory import (
    METHODS,
    Step,
    adapter_parameters,
    gpus_needed,
    longest_context,
    plan_memory,
)
from phi3kit.plan.shapes import shape_of

DOC = Path(__file__).resolve().parents[2] / "docs" / "plan.md"


@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("method", METHODS)
def test_every_catalog_model_plans(name: str, method: str) -> None:
    plan = plan_memory(shape_of(name), method)  # type: ignore[arg-type]
    assert plan.total == sum(plan.parts.values())
    assert all(value >= 0 for value in plan.parts.values())
    assert plan.parts["weights"] > 0


def test_methods_order_by_memory() -> None:
    full, lora, qlora = (plan_memory(shape_of("phi-3-mini"), m, checkpointing=True).total
                         for m in METHODS)
    assert full > 3 * lora
    assert lora > 1.5 * qlora


def test_lora_of_phi3_mini_counts_the_fused_modules() -> None:
    # r * (in + out): qkv 3072+9216, o 3072+3072, gate_up 3072+16384, down 8192+3072; 32 layers.
    per_layer = (3072 + 9216) + (3072 + 3072) + (3072 + 16384) + (8192 + 3072)
    assert adapter_parameters(shape_of("phi-3-mini"), 16) == 16 * per_layer * 32


def test_full_fine_tuning_takes_sixteen_bytes_per_weight() -> None:
    shape = shape_of("7B")
    parts = plan_memory(shape, "full").parts
    assert parts["weights"] + parts["gradients"] + parts["optimizer"] == 16 * shape.parameters


def test_nf4_takes_a_quarter_of_the_linear_weights() -> None:
    shape = shape_of("phi-3-mini")
    lora, qlora = (plan_memory(shape, m).parts["weights"] for m in ("lora", "qlora"))
    saved = 2 * shape.linear - (4 + 0.127) / 8 * shape.linear
    assert lora - qlora == pytest.approx(saved, abs=2)


@pytest.mark.parametrize("checkpointing", [True, False])
def test_more_context_takes_more_and_the_longest_that_fits_fits(checkpointing: bool) -> None:
    shape = shape_of("phi-3-mini-128k")
    longest = longest_context(shape, "qlora", Step(checkpointing=checkpointing), memory_gb=24)
    assert longest is not None
    fits, over = (plan_memory(shape, "qlora", context=context, checkpointing=checkpointing,
                              gpu_memory_gb=24).fits for context in (longest, longest + 256))
    assert (fits, over) == (True, False)


def test_what_fits_only_with_checkpointing_says_so() -> None:
    shape = shape_of("phi-3-mini")
    plan = plan_memory(shape, "qlora", gpu_memory_gb=8)
    assert plan.fits is False
    less = plan_memory(shape, "qlora", checkpointing=True, gpu_memory_gb=8)
    assert less.fits and not less.advice
    assert plan.advice[0].startswith(f"--checkpointing takes {less.total / 1e9:.1f} GB")


def test_a_smaller_method_is_advised_with_checkpointing_when_it_needs_it() -> None:
    shape = shape_of("phi-3-mini")
    plan = plan_memory(shape, "lora", gpu_memory_gb=8)
    less = plan_memory(shape, "qlora", checkpointing=True, gpu_memory_gb=8)
    assert f"--method qlora --checkpointing takes {less.total / 1e9:.1f} GB at --batch 1" in (
        plan.advice)


def test_one_card_suffices_exactly_when_it_fits() -> None:
    for card in (24, 48, 80):
        for method in METHODS:
            plan = plan_memory(shape_of("7B"), method, gpu_memory_gb=card)
            assert (plan.gpus[str(card)] == 1) == plan.fits


def test_several_cards_each_hold_a_gathered_layer() -> None:
    parts = plan_memory(shape_of("70B"), "lora", checkpointing=True).parts
    without, with_layer = (gpus_needed(parts, 24, gathered) for gathered in (0, 2 * 10**9))
    assert without is not None and with_layer is not None
    assert with_layer > without


def test_a_context_beyond_the_models_own_is_named() -> None:
    plan = plan_memory(shape_of("phi-3-mini"), "lora", context=8192)
    assert any("4096 tokens" in line for line in plan.assumptions)


def test_phi3_small_is_fused_too() -> None:
    assert len(shape_of("phi-3-small").linear_widths) == 4


def test_advice_when_it_does_not_fit_fits() -> None:
    plan = plan_memory(shape_of("phi-3-mini"), "lora", context=4096, batch=4, gpu_memory_gb=8)
    assert plan.fits is False
    command = next(line for line in plan.advice if line.startswith("--method qlora"))
    promised = float(re.search(r"takes ([\d.]+) GB", command)[1])  # type: ignore[index]
    assert promised <= 8


def test_a_card_that_cannot_hold_its_own_activations_never_suffices() -> None:
    parts = plan_memory(shape_of("70B"), "qlora", context=4096, batch=16).parts
    assert gpus_needed(parts, 24, 0) is None


def test_cards_shrink_as_they_grow() -> None:
    counts = list(plan_memory(shape_of("70B"), "lora", checkpointing=True).gpus.values())
    assert None not in counts
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize(("name", "parameters"), [("7B", 7e9), ("3.8b", 3.8e9), ("500M", 5e8),
                                                  ("1000B", 1e12)])
def test_bare_sizes_say_how_the_shape_came_about(name: str, parameters: float) -> None:
    shape = shape_of(name)
    assert shape.parameters == parameters
    assert 0 < shape.linear < shape.parameters
    assert "bare size" in shape.assumption


def test_a_folder_is_counted_from_its_config(tmp_path: Path) -> None:
    spec = CATALOG["phi-3-mini"]
    (tmp_path / "config.json").write_text(json.dumps({
        "model_type": "phi3", "hidden_size": spec.hidden, "num_hidden_layers": spec.layers,
        "num_attention_heads": spec.heads, "num_key_value_heads": spec.kv_heads,
        "intermediate_size": spec.intermediate, "vocab_size": spec.vocab,
        "max_position_embeddings": spec.context}))
    shape = shape_of(str(tmp_path))
    assert shape.parameters == spec.parameters
    assert shape.linear == shape_of("phi-3-mini").linear


def test_unknown_names_and_damaged_configs_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    (tmp_path / "no-heads").mkdir()
    (tmp_path / "no-heads" / "config.json").write_text(json.dumps({
        "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 0, "vocab_size": 8,
        "intermediate_size": 8}))
    for name in ("phi-33", "0B", str(tmp_path / "empty"), str(tmp_path / "no-heads")):
        with pytest.raises(ModelError) as error:
            shape_of(name)
        assert "\n" not in str(error.value)


def test_the_worked_example_is_what_the_code_says() -> None:
    text = DOC.read_text(encoding="utf-8")
    for method in METHODS:
        plan = plan_memory(shape_of("70B"), method, checkpointing=True)
        parts = " | ".join(f"{plan.parts[p] / 1e9:.1f}" for p in (
            "weights", "adapter", "gradients", "optimizer", "activations", "overhead"))
        cards = " | ".join(str(plan.gpus[card]) for card in ("24", "40", "48", "80", "141"))
        assert f"| {method} | {parts} | {plan.total / 1e9:.1f} |" in text
        assert f"| {method} | {cards} |" in text
