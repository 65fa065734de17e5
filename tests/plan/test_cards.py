"""Cards by number: what is sharded, what is not, and what a card gathers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from phi3kit.plan.cards import CONTEXT_BYTES, FRAGMENTATION, gathered, gathered_whole, gpus_needed
from phi3kit.plan.memory import METHODS, plan_memory
from phi3kit.plan.shapes import shape_of


def room_of(card: float, parts: Mapping[str, int]) -> float:
    """Bytes beside the driver, activations and copies."""
    return (card * 1e9 / (1 + FRAGMENTATION["expected"]) - CONTEXT_BYTES["expected"]
            - parts["activations"] - parts["copies"])


def test_cards_by_hand() -> None:
    """LoRA of 70B on 24 GB: the layers over what a card has left for its share of them."""
    shape = shape_of("70B")
    parts = plan_memory(shape, "lora", checkpointing=True).parts
    layers = 2 * shape.linear
    whole = sum(parts[name] for name in ("weights", "adapter", "gradients", "optimizer")) - layers
    room = room_of(24, parts) - whole - 2 * layers / shape.layers
    by_hand = math.ceil(layers / room)
    assert gpus_needed(shape, "lora", parts, 24) == by_hand > 1


@pytest.mark.parametrize("card", [40, 80])
def test_cards_by_hand_where_all_weights_train(card: int) -> None:
    """What is gathered is no share: the least that sharding needs would be a layer alone."""
    shape = shape_of("70B")
    parts = plan_memory(shape, "full", checkpointing=True).parts
    room = room_of(card, {**parts, "copies": gathered_whole(shape)})
    assert gpus_needed(shape, "full", parts, card) == math.ceil(16 * shape.parameters / room)
    assert gpus_needed(shape, "full", parts, 24) is None  # embeddings and output layer fill it


def test_activations_are_not_sharded() -> None:
    shape = shape_of("70B")
    parts = plan_memory(shape, "qlora", context=4096, batch=16).parts
    assert gpus_needed(shape, "qlora", parts, 24) is None


def test_a_card_gathers_a_layer_in_the_type_that_it_is_kept_in() -> None:
    shape = shape_of("70B")
    assert gathered(shape, "lora") == 2 * shape.linear // shape.layers
    assert gathered(shape, "qlora") < gathered(shape, "lora") / 3


@pytest.mark.parametrize("method", METHODS)
def test_one_card_suffices_exactly_when_it_fits(method: Any) -> None:
    for card in (24, 48, 80):
        plan = plan_memory(shape_of("7B"), method, gpu_memory_gb=card)
        assert (plan.gpus[str(card)] == 1) == plan.fits


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("card", [24, 48, 80])
def test_so_many_cards_hold_it_as_the_table_says(method: Any, card: int) -> None:
    shape = shape_of("20B" if method == "full" else "70B")
    count = plan_memory(shape, method, checkpointing=True).gpus[str(card)]
    assert count is not None

    def fits(cards: int) -> bool | None:
        return plan_memory(shape, method, checkpointing=True, gpu_memory_gb=card,
                           gpus=cards).fits

    assert fits(count) is True
    assert count == 1 or fits(count - 1) is False


def test_where_no_number_of_cards_holds_it_the_change_is_named_that_helps() -> None:
    shape = shape_of("70B")
    plan = plan_memory(shape, "qlora")
    assert [plan.gpus[size] for size in ("24", "40", "48")] == [None, None, None]
    with_it = plan_memory(shape, "qlora", checkpointing=True)
    assert "--checkpointing takes " + ", ".join(
        f"{with_it.gpus[size]} of {size} GB" for size in ("24", "40", "48")) in plan.advice[0]
    assert with_it.advice == ()
    long = plan_memory(shape, "lora", context=65536, batch=8, checkpointing=True)
    assert "--batch 1 --context 512 takes" in long.advice[0]
    huge = plan_memory(shape_of("10000B"), "full")
    assert "take larger ones" in huge.advice[-1]


@pytest.mark.parametrize("method", METHODS)
def test_larger_cards_are_fewer_and_worse_assumptions_take_more(method: Any) -> None:
    plan = plan_memory(shape_of("20B" if method == "full" else "70B"), method, checkpointing=True)
    counts = [count for count in plan.gpus.values() if count is not None]
    assert len(counts) == len(plan.gpus)
    assert counts == sorted(counts, reverse=True)
    for size, count in plan.gpus.items():
        low, high = plan.gpus_low[size], plan.gpus_high[size]
        assert low is not None and high is not None and count is not None
        assert low <= count <= high
