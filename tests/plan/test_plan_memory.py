"""The arithmetic of `plan`: parts, cards, and the worked example in the docs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from phi3kit.errors import ModelError
from phi3kit.models.catalog import CATALOG
from phi3kit.plan.memory import METHODS, adapter_parameters, parts_of, plan_memory
from phi3kit.plan.shapes import shape_of
from phi3kit.plan.step import Step
from phi3kit.records import Calibration, CalibrationRow, as_json
from phi3kit.report.plan_text import title

ROOT = Path(__file__).resolve().parents[2]


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


def test_a_context_beyond_the_models_own_is_named() -> None:
    plan = plan_memory(shape_of("phi-3-mini"), "lora", context=8192)
    assert any("4096 tokens" in line for line in plan.assumptions)


def test_a_small_model_is_not_of_0_billion_parameters() -> None:
    for name, told in (("smollm2-135m", "134.52 M"), ("phi-3-mini", "3.82 B")):
        assert title([plan_memory(shape_of(name), "lora")]).startswith(
            f"{name}: {told} parameters")


def test_phi3_small_is_fused_too() -> None:
    assert len(shape_of("phi-3-small").linear_widths) == 4


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


@pytest.mark.parametrize("kind", ["cohere", "cohere2", "gemma", "gemma2", "gemma3_text", "granite",
                                  "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3",
                                  "smollm3"])
def test_embeddings_are_tied_where_the_model_takes_them_for_it(tmp_path: Path, kind: str) -> None:
    from transformers import AutoConfig

    config = {"model_type": kind, "hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 1000,
              "num_attention_heads": 4, "intermediate_size": 128}
    (tmp_path / "config.json").write_text(json.dumps(config))
    silent = shape_of(str(tmp_path)).parameters
    config["tie_word_embeddings"] = AutoConfig.for_model(kind).tie_word_embeddings
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert shape_of(str(tmp_path)).parameters == silent


def test_unknown_names_and_damaged_configs_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    (tmp_path / "no-heads").mkdir()
    (tmp_path / "no-heads" / "config.json").write_text(json.dumps({
        "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 0, "vocab_size": 8,
        "intermediate_size": 8}))
    (tmp_path / "text").mkdir()
    whole = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 8,
             "intermediate_size": 8}
    for number, changed in enumerate((
            {"num_key_value_heads": "x"}, {"head_dim": [8]}, {"hidden_size": 1e400},
            {"max_position_embeddings": -1}, {"num_local_experts": 8}, {"vocab_size": 10**30})):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "config.json").write_text(json.dumps(whole | changed))
    (tmp_path / "text" / "config.json").write_text("[" * 200_000)
    for name in ("phi-33", "0B", "5000000B", "9" * 400 + "B", "x" * 400, str(tmp_path / "empty"),
                 str(tmp_path / "no-heads"), str(tmp_path / "text"),
                 *(str(tmp_path / str(number)) for number in range(6))):
        with pytest.raises(ModelError) as error:
            shape_of(name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("method", METHODS)
def test_the_expected_lies_between_low_and_high(method: str) -> None:
    plan = plan_memory(shape_of("phi-3-mini"), method)  # type: ignore[arg-type]
    for part, value in plan.parts.items():
        assert plan.low[part] <= value <= plan.high[part], part
    assert sum(plan.low.values()) < plan.total < sum(plan.high.values())


def test_full_fine_tuning_casts_its_weights_and_holds_every_logit() -> None:
    shape = shape_of("phi-3-mini")
    full, lora = (plan_memory(shape, m, checkpointing=True).parts for m in ("full", "lora"))
    assert full["copies"] == 2 * shape.parameters
    # What it has more is the loss: 14 bytes per logit, less what LoRA recomputes then.
    assert full["activations"] > lora["activations"] + 0.5 * 14 * shape.vocab * 2048


def test_the_loss_behind_a_frozen_head_takes_a_block_of_logits() -> None:
    """So a vocabulary of 100,352 costs no more than one of 32,064."""
    few, many = (plan_memory(replace(shape_of("phi-3-mini"), vocab=vocab), "lora",
                             context=8192).parts["activations"] for vocab in (32_064, 100_352))
    assert few == many


def test_a_process_holds_libraries_and_a_card_its_context() -> None:
    shape = shape_of("smollm2-135m")
    card, process = (plan_memory(shape, "qlora", context=512, place=place)
                     for place in ("gpu", "cpu"))
    assert process.gpus == {} and set(card.gpus) == {"24", "40", "48", "80", "141"}
    # The allocator keeps a share of the activations: the least of lanes side by side.
    def kept(method: str, **step: Any) -> float:
        few, many = (plan_memory(shape, method, context=context, place="cpu", **step).parts
                     for context in (512, 4096))
        return ((many["overhead"] - few["overhead"])
                / (many["activations"] - few["activations"]))

    assert 0.1 < kept("qlora", lanes=2) < 0.4 < kept("full") < 1
    assert 0.4 < kept("qlora") < kept("full") < kept("lora", checkpointing=True, lanes=2) < 1
    assert process.parts["overhead"] > 600e6
    # 4-bit weights of a small model are held unpacked there, 2 bytes each.
    assert process.parts["copies"] - card.parts["copies"] == pytest.approx(
        2 * shape.linear * (1 - 1 / shape.layers), abs=2)


@pytest.mark.parametrize("float32", [False, True])
def test_what_is_shared_out_is_neither_leaner_nor_held_unpacked(float32: bool) -> None:
    """As on a card: the attention matrix of so long a row is kept nowhere."""
    shape = shape_of("smollm2-135m")
    alone, shared, card = (
        parts_of(shape, "qlora", Step(context=4096, float32=float32, **where))
        for where in ({"place": "cpu"}, {"place": "cpu", "shared": True}, {}))
    for part in ("activations", "copies"):
        assert shared[part] == card[part] != alone[part]
    assert shared["activations"] > alone["activations"] and shared["copies"] < alone["copies"]


def test_each_lane_holds_casts_and_gradients_of_its_own() -> None:
    shape = shape_of("smollm2-135m")
    alone, beside = (plan_memory(shape, "lora", context=512, place="cpu", lanes=lanes)
                     for lanes in (1, 2))
    adapter = adapter_parameters(shape, 16)
    assert beside.parts["gradients"] == 3 * alone.parts["gradients"] == 12 * adapter
    assert beside.parts["copies"] == 2 * alone.parts["copies"] == 4 * adapter


def test_the_pages_hold_what_the_plan_says_now() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "plan-tables")],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def plan_tables() -> ModuleType:
    """scripts/plan-tables."""
    loader = SourceFileLoader("plan_tables", str(ROOT / "scripts" / "plan-tables"))
    spec = spec_from_loader("plan_tables", loader)
    assert spec is not None
    tables = module_from_spec(spec)
    loader.exec_module(tables)
    return tables


def test_a_stale_page_is_found() -> None:
    tables = plan_tables()
    text = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    assert tables.doc(text) == text
    assert tables.doc(text.replace("| weights | 2", "| weights | 3")) == text
    recipe = (ROOT / "configs" / "phi-3-mini-qlora-8gb.yaml").read_text(encoding="utf-8")
    assert tables.recipe(re.sub(r"Planned: [\d.]+", "Planned: 1.0", recipe)) == recipe


def test_measured_rows_stand_on_the_page_once_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = plan_tables()
    monkeypatch.setattr(tables, "MEASURED", tmp_path)
    assert "Not measured yet" in tables.calibration()
    row = CalibrationRow(
        run="finetune-1", model="smollm2-135m", method="lora", rank=8, context=512, batch=4,
        checkpointing=False, device="cpu", planned_bytes=int(1.1e9), peak_bytes=10**9,
        memory_error=0.1, planned_seconds=20.0, seconds=25.0, time_error=-0.2)
    kept = as_json(Calibration((row,), 0.1, -0.2, ()))
    (tmp_path / "calibration.json").write_text(json.dumps({
        **kept, "date": "2026-01-02", "aim": 0.1, "over_aim": 0,
        "machine": {"processor": "Chip", "cores": 2},
        "versions": {"torch": "3", "transformers": "4", "phi3kit": "5"}}))
    told = tables.calibration()
    cells = told.splitlines()[2].replace("\\", "").split(" | ")
    assert cells[3:] == ["4 × 512", "cpu", "1.10", "1.00", "+10.0%", "20", "25", "-20.0% |"]
    assert "1 of 1 rows are within 10% of the peak. Measured 2026-01-02 on Chip, 2 cores" in told


@pytest.mark.parametrize("has", [True, False])
def test_recipes_are_planned_alike_on_every_cpu(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phi3kit.models.hardware.cpu_has_bfloat16", lambda: has)
    page = (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
    assert plan_tables().overview(page) == page


def test_recipes_are_told_as_planned_and_as_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = plan_tables()
    demo = ROOT / "docs" / "measured" / "demo.json"
    (tmp_path / "demo.json").write_bytes(demo.read_bytes())
    monkeypatch.setattr(tables, "MEASURED", tmp_path)

    def row(start: str) -> list[str]:
        line = next(line for line in tables.recipes().splitlines() if line.startswith(start))
        return [cell.strip() for cell in line.strip("|").split("|")]

    eight = row("| [phi-3-mini-qlora-8gb]")
    assert (eight[6], eight[8]) == ("not measured yet", "not measured yet")
    low, high = map(float, eight[7].split("–"))
    assert 0 < low < high
    small = row("| phi-3-mini-lora-16gb ")
    assert small[1] == "8 GB GPU: **out of memory**" and float(small[5]) > 8
    (tmp_path / "gpu.json").write_text(json.dumps({"gpu": "L4", "recipes": {
        "phi-3-mini-qlora-8gb": {"peak_bytes": 5.1e9, "seconds": 90.0, "tokens": 12000},
        "phi-3-mini-lora-80gb": {"out_of_memory": "CUDA out of memory"}}}))
    assert row("| [phi-3-mini-qlora-8gb]")[6:9:2] == ["5.1", "1.5 for 12,000 tokens on L4"]
    assert row("| [phi-3-mini-lora-80gb]")[6] == "out of memory on L4"


def test_what_the_page_concludes_from_its_tables() -> None:
    full, lora, qlora = (plan_memory(shape_of("70B"), method, checkpointing=True).gpus
                         for method in METHODS)
    assert (full["80"], lora["80"], qlora["80"]) == (24, 3, 1)
    assert (qlora["40"], qlora["48"]) == (2, 2)
    assert qlora["24"] is not None and qlora["24"] > 2
    assert lora["24"] == 19
