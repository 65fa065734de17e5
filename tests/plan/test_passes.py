"""How many tokens a pass takes where nobody says: by hand, within the memory, and stable."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3kit.plan.cards import GB
from phi3kit.plan.gpus import GPUS
from phi3kit.plan.memory import METHODS, parts_of
from phi3kit.plan.passes import ON_CPU, PACKED, UNNAMED, choose_pass
from phi3kit.plan.shapes import shape_of
from phi3kit.plan.step import Step
from phi3kit.settings import FinetuneSettings, ModelSettings, Settings

MINI = shape_of("phi-3-mini")


def chosen(memory_gb: float | None, method: Any = "lora", *, longest: int = 1024,
           place: Any = "gpu", cards: int = 1, shared: bool = False, dtype: Any = "auto",
           **own: Any) -> Any:
    values = Settings(finetune=FinetuneSettings(**own), model=ModelSettings(dtype=dtype))
    return choose_pass(values, method, MINI, longest=longest, place=place, cards=cards,
                       shared=shared, memory=None if memory_gb is None else int(memory_gb * GB))


def high(tokens: int, method: Any = "lora", **step: Any) -> float:
    """GB at the plan's high end."""
    return sum(parts_of(MINI, method, Step(context=tokens, **step), "high").values()) / GB


def test_a_number_wins_everywhere() -> None:
    for place in ("cpu", "gpu"):
        for memory in (None, 1, 1000):
            assert chosen(memory, place=place, micro_batch_tokens=77).tokens == 77


def test_a_cpu_takes_as_many_whatever_its_memory_and_rows() -> None:
    assert {chosen(memory, place="cpu", longest=longest).tokens
            for memory in (None, 2, 1000) for longest in (16, 4096)} == {ON_CPU}


def test_where_layers_are_shared_out_a_cpus_pass_takes_more() -> None:
    def lanes(*, shared: bool) -> Any:
        return choose_pass(Settings(), "lora", MINI, longest=1024, place="cpu", lanes=2,
                           memory=memory, shared=shared)

    step = Step(context=1024, batch=2, lanes=2, place="cpu")
    memory = sum(parts_of(MINI, "lora", step, "high").values())
    assert (lanes(shared=False).tokens, lanes(shared=True).tokens) == (2048, ON_CPU)


def test_without_a_card_or_a_shape_a_pass_is_a_row() -> None:
    assert chosen(None).tokens == 1024
    assert chosen(None, longest=64).tokens == UNNAMED
    unknown = choose_pass(Settings(), "lora", None, longest=2048, place="gpu", memory=80 * GB)
    assert unknown.tokens == 2048 and "not known" in unknown.why


def test_by_hand() -> None:
    """LoRA of Phi-3-mini on 24 GB: 2,048 tokens come to 21.9 GB at the high end, 4,096 do not."""
    assert high(2048) == pytest.approx(21.90, abs=0.01)
    assert high(4096) > 24
    found = chosen(24)
    assert (found.tokens, found.fits) == (2048, True)
    assert found.why == "what 24.0 GB hold by plan with room kept"
    # What is left is at least what the plan's range has for context and fragmentation.
    expected = sum(parts_of(MINI, "lora", Step(context=2048)).values()) / GB
    assert 24 - expected > 0.1 * 24


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_on_every_card_the_choice_fits_and_twice_as_much_does_not(
    gpu: Any, method: Any, checkpointing: bool,
) -> None:
    found = chosen(gpu.memory_gb, method, longest=512, batch_size=4096,
                   checkpointing=checkpointing)
    least = high(512, method, checkpointing=checkpointing)
    if not found.fits:
        assert found.tokens == 512 and "tight" in found.why
        assert method == "full" or least > gpu.memory_gb
        return
    assert found.tokens & (found.tokens - 1) == 0
    assert high(found.tokens, method, checkpointing=checkpointing) <= gpu.memory_gb
    if method != "full":  # of which more is counted than the plan has
        assert high(2 * found.tokens, method, checkpointing=checkpointing) > gpu.memory_gb


def test_what_a_card_has_free_a_little_more_or_less_is_the_same_pass() -> None:
    assert {chosen(free).tokens for free in (23.1, 23.6, 24.0, 25.2)} == {2048}


def test_never_more_than_the_rows_of_a_step_nor_less_than_one() -> None:
    whole = chosen(80, longest=256, batch_size=8)
    assert whole.tokens == 8 * 256 and "all rows of an optimizer step" in whole.why
    assert chosen(80, longest=256, batch_size=8, cards=4).tokens == 2 * 256
    tight = chosen(8, longest=3072)
    assert (tight.tokens, tight.fits) == (3072, False)
    assert tight.why == "one row, for which 8.0 GB are tight"
    # A row between two powers of two is a pass of its own anyway.
    assert chosen(24, longest=2064, batch_size=8).tokens == 2064


@given(st.floats(1, 200), st.integers(1, 300), st.integers(1, 64), st.sampled_from(METHODS))
def test_more_memory_never_makes_a_pass_smaller(memory: float, rows: int, batch: int,
                                                method: Any) -> None:
    less, more = (chosen(gb, method, longest=16 * rows, batch_size=batch).tokens
                  for gb in (memory, 1.5 * memory))
    assert 16 * rows <= less <= more <= 16 * rows * batch


def test_what_takes_more_memory_takes_fewer_tokens() -> None:
    def tokens(**changed: Any) -> int:
        return int(chosen(48, **{"longest": 64, "batch_size": 4096, **changed}).tokens)

    assert tokens() > tokens(dora=True) and tokens() > tokens(dropout=0.1)
    assert tokens() > tokens(dtype="float32") and tokens(checkpointing=True) > tokens()
    assert tokens(method="qlora") >= tokens() > tokens(rank=1024)
    # The plan alone would say twice as many: it does not count what is kept in 32 bits.
    few = chosen(141, "full", longest=64, batch_size=4096)
    assert few.fits and high(2 * few.tokens, "full") <= 141 < high(4 * few.tokens, "full")


def test_packed_rows_stay_short_for_attention_works_on_their_square() -> None:
    assert chosen(80, longest=64, batch_size=4096, packing=True).tokens == PACKED
    assert chosen(80, longest=4096, batch_size=8, packing=True).tokens == 4096
    assert chosen(80, longest=64, batch_size=8, packing=True).tokens == 8 * 64


@pytest.mark.parametrize(("name", "method", "card"), [
    ("phi-3-medium", "lora", 24), ("phi-3-mini", "full", 48)])
def test_a_share_leaves_room_for_a_fuller_pass(name: str, method: Any, card: int) -> None:
    own = Settings(finetune=FinetuneSettings(checkpointing=True, shard=True, batch_size=64))
    alone, shared = (choose_pass(own, method, shape_of(name), longest=512, place="gpu",
                                 memory=card * GB, cards=2, shared=shared)
                     for shared in (False, True))
    assert not alone.fits and shared.fits
    assert alone.tokens == 512 < shared.tokens
