"""Hours of training: by hand, monotone, and around what was measured, here and by others."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from phi3kit.errors import SettingsError
from phi3kit.plan import time
from phi3kit.plan.gpus import BOARDS, GPUS, find_gpu, of_memory
from phi3kit.plan.memory import METHODS
from phi3kit.plan.shapes import Shape, shape_of
from phi3kit.plan.time import (
    DEMO_SECONDS,
    DEMO_TOKENS,
    FLOAT32_ON_CPU,
    FULL_ON_CPU,
    cpu_flops,
    plan_times,
    train_time,
    work_per_token,
)
from phi3kit.records import DatasetSize
from phi3kit.settings import FinetuneSettings

ROOT = Path(__file__).resolve().parents[2]
MINI = shape_of("phi-3-mini")
A100 = (find_gpu("a100"),)


def _hours(method: Any = "lora", *, tokens: float = 1e6, checkpointing: bool = False,
           shape: Shape = MINI, gpus: Any = A100, context: int = 2000,
           pass_tokens: int | None = None) -> float:
    return train_time(shape, method, tokens=tokens, context=context, gpus=gpus,
                      checkpointing=checkpointing, pass_tokens=pass_tokens).expected


def test_by_hand() -> None:
    """Phi-3-mini, LoRA, a million tokens in rows of 1,000, at 40% of 312 Tflop/s.

    Multiplied weights: 32 layers of 3072·9216 + 3072·3072 + 3072·16384 + 8192·3072, and the
    output layer of 32064·3072.
    """
    multiplied = 32 * (3072 * 9216 + 3072 * 3072 + 3072 * 16384 + 8192 * 3072) + 32064 * 3072
    attention = 2 * 32 * 3072 * 1000
    seconds = 1e6 * (4 * multiplied + 3 * attention) / (0.4 * 312e12)
    found = train_time(MINI, "lora", tokens=1e6, context=1000, gpus=A100)
    assert found.expected * 3600 == pytest.approx(seconds)
    assert found.low == pytest.approx(found.expected * 0.4 / 0.6)
    assert found.high == pytest.approx(found.expected * 0.4 / 0.2)


def test_qlora_adds_the_weights_that_each_pass_unpacks() -> None:
    """Two passes of 4.5 bytes per linear weight, at 40% of 2,039 GB/s, for each 2,000 tokens."""
    unpacked = 500 * 2 * MINI.linear * 4.5 / (0.4 * 2039e9)
    added = _hours("qlora", context=2000) - _hours("lora", context=2000)
    assert added * 3600 == pytest.approx(unpacked)


def test_what_takes_longer() -> None:
    assert _hours() < _hours("qlora") < _hours("qlora", checkpointing=True)
    assert _hours() < _hours("full") < _hours("full", checkpointing=True)
    assert _hours(tokens=2e6) == pytest.approx(2 * _hours())
    assert _hours(context=4000) > _hours()
    assert _hours(shape=shape_of("phi-3-medium")) > _hours()
    assert _hours(gpus=(find_gpu("H100"),)) < _hours() < _hours(gpus=(find_gpu("T4"),))


@pytest.mark.parametrize("gpus", [A100, ()])
@pytest.mark.parametrize("method", METHODS)
def test_low_expected_and_high_are_in_order(method: Any, gpus: Any) -> None:
    found = train_time(MINI, method, tokens=1e6, context=300, gpus=gpus)
    assert 0 < found.low < found.expected < found.high


def test_on_a_cpu_qlora_takes_as_long_as_lora_and_it_says_so() -> None:
    lora, qlora = (train_time(MINI, method, tokens=1e6, context=300) for method in (
        "lora", "qlora"))
    assert lora.expected == qlora.expected
    assert any("LoRA as fast as QLoRA" in line for line in lora.assumptions)


def test_fuller_passes_are_faster_and_most_so_for_qlora() -> None:
    gain = {method: _hours(method, context=100) / _hours(method, context=100, pass_tokens=8192)
            for method in ("lora", "qlora")}
    assert gain["qlora"] > gain["lora"] > 1


def test_short_passes_take_as_long_as_their_kernels_take_to_start() -> None:
    """Two passes of 32 layers of 0.8 ms, whatever the card: its arithmetic would be faster."""
    for card in ("A100", "H100"):
        hours = _hours(context=64, tokens=64_000, gpus=(find_gpu(card),))
        assert hours * 3600 == pytest.approx(1000 * 2 * 32 * 0.0008)


def test_several_cards_give_a_wider_range() -> None:
    one = train_time(MINI, "lora", tokens=1e6, context=500, gpus=(find_gpu("RTX 3090"),))
    any_24 = train_time(MINI, "lora", tokens=1e6, context=500, gpus=of_memory(24))
    assert any_24.low < one.low and any_24.high == pytest.approx(one.high)


def test_a_dataset_is_planned_by_its_tokens_epochs_and_the_rows_of_a_batch() -> None:
    size = DatasetSize(source="", examples=1000, tokens=100_000, longest=100, how="as given")
    settings = FinetuneSettings(epochs=3, batch_size=4, checkpointing=True)
    found = plan_times(MINI, ["lora", "qlora"], size, settings, gpus=A100,
                       most_tokens={"lora": 2048, "qlora": 2048})
    # A batch of 4 rows of 100 tokens never fills a pass of 2,048.
    by_hand = [train_time(MINI, method, tokens=300_000, context=100, gpus=A100,
                          checkpointing=True, pass_tokens=400) for method in ("lora", "qlora")]
    assert found == by_hand


def test_cards_together_share_the_rows_and_each_is_paid_for() -> None:
    one, four = (train_time(MINI, "lora", tokens=1e6, context=500, gpus=A100, price=2.0,
                            together=cards) for cards in (1, 4))
    assert four.low == pytest.approx(one.low / 4)
    assert four.high == pytest.approx(one.high / (4 * 0.7))
    assert four.cost is not None
    assert four.cost["expected"] == pytest.approx(4 * four.expected * 2.0)
    assert any("4 cards together" in line for line in four.assumptions)


def test_cards_that_share_a_batch_have_emptier_passes() -> None:
    size = DatasetSize(source="", examples=1000, tokens=100_000, longest=100, how="as given")
    settings = FinetuneSettings(epochs=1, batch_size=8)
    found, = plan_times(MINI, ["qlora"], size, settings, gpus=A100,
                        most_tokens={"qlora": 8192}, together=4)
    by_hand = train_time(MINI, "qlora", tokens=100_000, context=100, gpus=A100, pass_tokens=200,
                         together=4)
    assert found == by_hand


def test_cost_is_hours_times_price() -> None:
    found = train_time(MINI, "lora", tokens=1e6, context=500, gpus=A100, price=2.5)
    assert found.cost == pytest.approx(
        {"low": found.low * 2.5, "expected": found.expected * 2.5, "high": found.high * 2.5})
    assert train_time(MINI, "lora", tokens=1e6, context=500, gpus=A100).cost is None


def test_the_demo_lies_within_the_plan_for_a_cpu() -> None:
    measured = json.loads((ROOT / "docs/measured/demo.json").read_text())["finetune"]
    plan = train_time(shape_of("smollm2-135m"), "qlora", tokens=measured["tokens"], context=140)
    assert plan.low <= measured["seconds"] / 3600 <= plan.high


def test_the_rate_of_a_cpu_is_what_was_measured() -> None:
    measured = json.loads((ROOT / "docs/measured/demo.json").read_text())["finetune"]
    assert (measured["tokens"], measured["seconds"]) == (DEMO_TOKENS, DEMO_SECONDS)
    # 731 tokens a second, 4 operations for each of 134.5 million weights, and attention.
    assert cpu_flops() == pytest.approx(4 * 134.5e6 * 731, rel=0.05)


def test_full_fine_tuning_on_a_cpu_is_planned_by_what_it_took() -> None:
    """The middle one of the trainings that were kept, over their operations at the demo's rate."""
    kept = json.loads((ROOT / "docs/measured/times-bfloat16.json").read_text())["rows"]
    rows = [row for row in kept if row["method"] == "full"]
    assert rows and {row["device"] for row in rows} == {"cpu"}
    took = []
    for row in rows:
        work = work_per_token(shape_of(row["model"]), "full", context=row["row"],
                              checkpointing=row["checkpointing"])
        took.append(row["seconds"] / (row["tokens"] * work.flops / cpu_flops()))
        plan = train_time(shape_of(row["model"]), "full", tokens=row["tokens"],
                          context=row["row"], checkpointing=row["checkpointing"])
        assert plan.low <= row["seconds"] / 3600 <= plan.high
        assert any(f"{FULL_ON_CPU:g} times" in line for line in plan.assumptions)
    assert round(median(took), 1) == FULL_ON_CPU
    page = (ROOT / "docs/plan.md").read_text(encoding="utf-8")
    assert f"planned at {FULL_ON_CPU:g} times what its operations" in page
    assert f"took {min(took):.1f} to {max(took):.1f} times" in " ".join(page.split())


def test_on_a_gpu_full_fine_tuning_is_planned_by_its_operations_alone() -> None:
    """A card's share of its peak has a range of its own."""
    assert _hours("full", context=1000) / _hours(context=1000) == pytest.approx(1.5, rel=0.02)


# Seconds of an optimizer step of 8 rows, one row in a pass, with recomputed activations, on an
# A100 SXM of 80 GB: README of github.com/QwenLM/Qwen, "Profiling of Memory and Speed".
# (The page does not say that activations are recomputed; its training scripts do. Its 4-bit
# weights are GPTQ's.)
LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
PUBLISHED = {
    ("1.8B", "lora"): (1.0, 1.0, 1.1, 1.7, 3.3, 6.8),
    ("1.8B", "qlora"): (1.4, 1.4, 1.4, 2.0, 3.4, 6.5),
    ("7B", "lora"): (1.2, 1.5, 2.8, 5.2, 10.1, 21.3),
    ("7B", "qlora"): (3.0, 3.0, 3.5, 7.0, 11.6, 22.3),
    ("14B", "lora"): (1.6, 2.4, 4.4, 8.4, 17.0, 36.0),
    ("14B", "qlora"): (5.3, 6.3, 8.2, 11.8, 20.1, 38.3),
    ("72B", "qlora"): (27.4, 31.5, 41.4, 59.5, 97.7, 179.8),
}
# Hidden, layers, width of the feed-forward layer's halves, from the models' config.json.
QWEN = {"1.8B": (2048, 24, 5504), "7B": (4096, 32, 11008), "14B": (5120, 40, 13696),
        "72B": (8192, 80, 24576)}


@pytest.mark.parametrize(("size", "method"), PUBLISHED)
def test_times_that_others_published_lie_within_the_plan(
    tmp_path: Path, size: str, method: Any,
) -> None:
    hidden, layers, intermediate = QWEN[size]
    (tmp_path / "config.json").write_text(json.dumps({
        "hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": intermediate,
        "num_attention_heads": hidden // 128, "vocab_size": 151_936}))
    shape = shape_of(str(tmp_path))
    for length, seconds in zip(LENGTHS, PUBLISHED[size, method], strict=True):
        plan = train_time(shape, method, tokens=8 * length, context=length, gpus=A100,
                          checkpointing=True)
        assert plan.low * 3600 <= seconds <= plan.high * 3600, length


def test_the_assumptions_on_the_page_are_the_codes() -> None:
    page = (ROOT / "docs/plan.md").read_text(encoding="utf-8")
    for label, values in (
        ("share of the card's 16-bit peak", [f"{share:.0%}" for share in time._SHARE]),
        ("share of its memory's bandwidth, to unpack", [f"{x:.0%}" for x in time._BANDWIDTH]),
        ("least time per layer and pass, to start its kernels",
         [f"{seconds * 1000:g} ms" for seconds in time._LAYER_SECONDS]),
        ("with `--gpus N`: share of N times the speed of one card",
         [f"{share:.0%}" for share in time._TOGETHER]),
    ):
        assert f"| {label} | {' | '.join(values)} |" in page


@pytest.mark.parametrize("name", ["rtx-4090", "RTX 4090", "4090", "NVIDIA GeForce RTX 4090",
                                  "rtx4090 24gb"])
def test_cards_are_found_however_they_are_spelled(name: str) -> None:
    assert find_gpu(name).name == "RTX 4090"


@pytest.mark.parametrize(("name", "memory"), [
    ("A100", 80), ("a100-80gb", 80), ("A100 40GB", 40), ("A100-SXM4-40GB", 40), ("H100 80", 80),
    ("H200 141", 141), ("RTX 3060 12GB", 12), ("Tesla T4", 16), ("RTX A6000", 48), ("l40s", 48)])
def test_memory_may_stand_in_the_name(name: str, memory: int) -> None:
    assert find_gpu(name).memory_gb == memory


@pytest.mark.parametrize(("name", "card"), [
    ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40GB"), ("NVIDIA A100 80GB PCIe", "A100 PCIe"),
    ("NVIDIA A100-SXM4-40GB", "A100 40GB"), ("NVIDIA A100-SXM4-80GB", "A100"),
    ("NVIDIA H100 PCIe", "H100 PCIe"), ("NVIDIA H100 NVL", "H100 NVL"),
    ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA H200", "H200"), ("NVIDIA H200 NVL", "H200 NVL"),
    ("NVIDIA L40S", "L40S"), ("NVIDIA L4", "L4"), ("NVIDIA A10", "A10"), ("Tesla T4", "T4"),
    ("Tesla V100-SXM2-16GB", "V100 16GB"), ("Tesla V100-SXM2-32GB", "V100"),
    ("Tesla V100-PCIE-16GB", "V100 PCIe 16GB"), ("Tesla V100-PCIE-32GB", "V100 PCIe"),
    ("NVIDIA RTX A6000", "A6000"), ("NVIDIA GeForce RTX 4060 Ti", "RTX 4060 Ti")])
def test_cards_are_found_by_what_their_driver_calls_them(name: str, card: str) -> None:
    assert find_gpu(name).name == card


def test_a_laptops_card_is_not_taken_for_the_desktops() -> None:
    with pytest.raises(SettingsError):
        find_gpu("NVIDIA GeForce RTX 4090 Laptop GPU")


def test_another_board_of_a_card_changes_nothing_of_what_its_memory_stands_for() -> None:
    for board in BOARDS:
        assert find_gpu(board.name) is board
        assert board not in of_memory(board.memory_gb)
    assert {gpu.name for gpu in of_memory(80)} == {"A100", "H100"}


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
def test_every_card_is_found_by_its_own_name_and_memory(gpu: Any) -> None:
    assert find_gpu(gpu.name) is gpu
    assert gpu in of_memory(gpu.memory_gb)


def test_unknown_cards_are_named_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'H100'") as error:
        find_gpu("H10")
    assert "L40S" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(SettingsError):
        find_gpu("")


def test_cards_by_memory() -> None:
    assert {gpu.memory_gb for gpu in of_memory(23.9)} == {16}
    assert {gpu.memory_gb for gpu in of_memory(4)} == {8}


def test_an_adapter_in_float32_on_a_cpu_is_planned_by_what_it_took() -> None:
    """The middle one of the trainings that were kept of a CPU without bfloat16."""
    kept = json.loads((ROOT / "docs/measured/times-float32.json").read_text())["rows"]
    rows = [row for row in kept if row["method"] != "full"]
    assert len(rows) > 5 and all(row["float32"] for row in rows)
    took = []
    for row in rows:
        shape = shape_of(row["model"])
        work = work_per_token(shape, row["method"], context=row["row"],
                              checkpointing=row["checkpointing"])
        took.append(row["seconds"] / (row["tokens"] * work.flops / cpu_flops()))
        plan = train_time(shape, row["method"], tokens=row["tokens"], context=row["row"],
                          checkpointing=row["checkpointing"], float32=True)
        assert plan.low <= row["seconds"] / 3600 <= plan.high
        assert any(f"{FLOAT32_ON_CPU:g} times as long" in line for line in plan.assumptions)
    assert round(median(took), 1) == FLOAT32_ON_CPU
