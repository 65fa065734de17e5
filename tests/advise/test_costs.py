"""What the options take: the plan's own figures, for the options in question alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi3kit.advise.at_hand import AtHand
from phi3kit.advise.costs import costs
from phi3kit.advise.from_data import from_data
from phi3kit.advise.method import choose_method
from phi3kit.advise.rules import Confidence, load_rules
from phi3kit.advise.score import advise
from phi3kit.plan.memory import GB, plan_memory
from phi3kit.plan.passes import choose_pass
from phi3kit.plan.shapes import shape_of
from phi3kit.records import OPTIONS
from phi3kit.settings import AskSettings, FinetuneSettings, IngestSettings, Settings

ROOT = Path(__file__).resolve().parents[2]
TUNE = {"task": "classification", "external_facts": "none", "facts_in_request": "yes",
        "output_strictness": "high", "closed_output": True, "training_examples": 2000,
        "dataset_quality": "high"}


def named(found):
    return {(cost.option, cost.what): cost for cost in found}


def test_memory_is_the_plans() -> None:
    answers = {"model_size_b": 3.8, "gpu_memory_gb": 24}
    found = named(costs(OPTIONS, choose_method(answers, AtHand()), answers, AtHand()))
    # What `finetune` puts into a pass on such a card: as much as fits, with room kept.
    held = choose_pass(Settings(), "lora", shape_of("3.8B"), longest=1024, place="gpu",
                       memory=24 * GB)
    plan = plan_memory(shape_of("3.8B"), "lora", context=held.tokens, rank=16)
    assert held.tokens == 2048 and plan.total < 24 * GB
    assert "up to 2048 tokens at once" in found["both", "memory to train"].how
    for option in ("finetune", "both"):
        cost = found[option, "memory to train"]
        assert cost.low == cost.expected == cost.high == pytest.approx(plan.total / GB)
        assert cost.unit == "GB"
    assert ("base", "memory to train") not in found
    assert ("rag", "memory to train") not in found


def test_rows_rank_and_checkpointing_are_the_projects() -> None:
    chosen = FinetuneSettings(max_tokens=2048, rank=64, checkpointing=True)
    tuning = choose_method({"model_size_b": 3.8}, AtHand(Settings(finetune=chosen)))
    assert tuning.checkpointing
    assert tuning.plan == plan_memory(shape_of("3.8B"), "lora", context=2048, rank=64,
                                      checkpointing=True)


def test_a_named_model_is_planned_by_its_own_shape() -> None:
    shape = shape_of("phi-3-mini")
    at_hand = AtHand(model="phi-3-mini", shape=shape)
    assert choose_method({"model_size_b": 3.82}, at_hand).shape == shape
    # The answer says another size than the name: the answer stands, the name is dropped.
    other = advise({**TUNE, "model_size_b": 7}, at_hand=at_hand)
    assert not any("phi-3-mini" in command for command in other.next)
    assert any("plan --model 7B" in command for command in other.next)


@pytest.mark.parametrize(("size", "memory", "method", "checkpointing"), [
    (3.8, 24, "lora", False), (3.8, 13, "lora", True), (3.8, 8, "qlora", True),
    (7, 16, "qlora", False), (70, 24, "qlora", True), (0.135, 8, "lora", False),
])
def test_the_way_that_fits_and_changes_least(size, memory, method, checkpointing) -> None:
    tuning = choose_method({"model_size_b": size, "gpu_memory_gb": memory}, AtHand())
    assert (tuning.method, tuning.checkpointing) == (method, checkpointing)
    assert tuning.plan is not None
    if size == 70:
        assert tuning.gigabytes > memory
        assert "even QLoRA" in tuning.why
    else:
        assert tuning.gigabytes <= memory
        assert f"{tuning.gigabytes:.1f} GB" in tuning.why


def test_checkpointing_is_in_the_commands_when_it_must_be() -> None:
    advice = advise({**TUNE, "model_size_b": 3.8, "gpu_memory_gb": 13})
    tune = next(command for command in advice.next if command.startswith("phi3kit finetune"))
    assert tune.startswith("phi3kit finetune --dataset YOUR_EXAMPLES.jsonl "
                           "--model YOUR_3.8B_MODEL --checkpointing")
    assert "--checkpointing" in next(c for c in advice.next if c.startswith("phi3kit plan"))


def test_up_to_which_size_a_card_holds_lora() -> None:
    held = choose_method({"gpu_memory_gb": 24}, AtHand())
    assert "24 GB hold LoRA up to about 7B" in held.why
    assert choose_method({"gpu_memory_gb": 24, "model_size_b": 7}, AtHand()).method == "lora"
    larger = choose_method({"gpu_memory_gb": 24, "model_size_b": 14}, AtHand())
    assert (larger.method, larger.checkpointing) != ("lora", False)
    assert "too few" in choose_method({"gpu_memory_gb": 1}, AtHand()).why


def test_passages_and_index() -> None:
    project = AtHand(Settings(ask=AskSettings(passages=5), ingest=IngestSettings(chunk_tokens=100)))
    answers = {"corpus_tokens": 20800}
    found = named(costs(("rag",), choose_method({}, project), answers, project))
    assert found["rag", "prompt tokens that passages add to a question"].expected == 500
    assert found["rag", "tokens to index"].expected == 20800
    assert len(found) == 2
    assert costs(("base",), choose_method({}, project), answers, project) == ()


def test_the_cpus_range_holds_what_the_demo_took() -> None:
    demo = json.loads((ROOT / "docs/measured/demo.json").read_text())["finetune"]
    project = AtHand(Settings(finetune=FinetuneSettings(micro_batch_tokens=1024)), model="smollm2",
                     shape=shape_of("smollm2"))
    answers = {"model_size_b": 0.135, "gpu_memory_gb": 0}
    tuning = choose_method(answers, project)
    assert tuning.method == "qlora"
    cost = named(costs(("both",), tuning, answers, project))["both", "memory to train"]
    assert cost.low < cost.expected < cost.high
    assert cost.low <= demo["peak_memory_bytes"] / GB <= cost.high + 0.05


def test_only_options_in_question_cost() -> None:
    rules = load_rules()
    sure = replace(rules, confidence=Confidence(intercept=5, slope=1, decided_from=0.5))
    clear = advise({**TUNE, "model_size_b": 1.5, "gpu_memory_gb": 80}, sure)
    assert clear.decided
    assert {cost.option for cost in clear.costs} == {clear.recommendation}
    unclear = advise({"model_size_b": 1.5, "corpus_tokens": 1000})
    assert unclear.settle is not None
    assert {cost.option for cost in unclear.costs} == set(unclear.settle.arms) - {"base"}


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-9, 1e6), st.one_of(st.none(), st.floats(0, 1e4)))
def test_any_size_is_answered(size: float, memory: float | None) -> None:
    tuning = choose_method({"model_size_b": size, "gpu_memory_gb": memory}, AtHand())
    assert tuning.why
    advice = advise({**TUNE, "model_size_b": size, "gpu_memory_gb": memory})
    assert advice.next


def test_time_is_the_plans_and_comes_close_to_what_was_measured() -> None:
    """The demo's own training: 345 examples, 2 epochs, 30% with two passages of 120 tokens."""
    demo = json.loads((ROOT / "docs/measured/demo.json").read_text())["finetune"]
    project = Settings(ask=AskSettings(passages=2), ingest=IngestSettings(chunk_tokens=120),
                       finetune=FinetuneSettings(epochs=2, passages=0.3))
    data = from_data(project, dataset=str(ROOT / "data/train.jsonl"), model="smollm2")
    answers = {"model_size_b": 0.135, "gpu_memory_gb": 0, "training_examples": 345}
    tuning = choose_method(answers, data.at_hand)
    cost = named(costs(("both",), tuning, answers, data.at_hand))["both", "time to train"]
    assert cost.unit == "minutes"
    assert cost.expected == pytest.approx(demo["seconds"] / 60, rel=0.1)
    assert cost.low < demo["seconds"] / 60 < cost.high


def test_time_grows_with_what_is_trained_on() -> None:
    answers = {"model_size_b": 3.8, "gpu_memory_gb": 24, "training_examples": 1000}

    def hours(option, **more):
        now = {**answers, **more}
        cost = named(costs((option,), choose_method(now, AtHand()), now, AtHand()))[
            option, "time to train"]
        return cost.expected / (1 if cost.unit == "hours" else 60)

    assert hours("finetune", training_examples=2000) == pytest.approx(2 * hours("finetune"))
    assert hours("both") > hours("finetune")  # passages make the rows longer
    assert hours("finetune", gpu_memory_gb=0) > hours("finetune")
    without = {"model_size_b": 3.8, "training_examples": 1000}  # no card is known
    assert ("finetune", "time to train") not in named(
        costs(("finetune",), choose_method(without, AtHand()), without, AtHand()))
