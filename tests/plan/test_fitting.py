"""The largest that fits, and changes whose savings are what they say."""

from __future__ import annotations

import re
from typing import Any

import pytest

from phi3kit.plan.memory import plan_memory
from phi3kit.plan.shapes import shape_of

MINI = shape_of("phi-3-mini")


def replanned(flags: str, **given: Any) -> int:
    """Bytes of the plan that the flags lead to."""
    words = flags.split()
    method: Any = words[words.index("--method") + 1] if "--method" in words else given.pop("method")
    given.pop("method", None)
    for name in ("batch", "context", "rank"):
        if f"--{name}" in words:
            given[name] = int(words[words.index(f"--{name}") + 1])
    if "--checkpointing" in words:
        given["checkpointing"] = True
    return plan_memory(MINI, method, **given).total


@pytest.mark.parametrize("given", [
    {"method": "full"}, {"method": "lora"}, {"method": "qlora"},
    {"method": "lora", "context": 4096, "batch": 4},
    {"method": "lora", "checkpointing": True, "batch": 8, "rank": 64}])
def test_every_change_saves_what_it_says(given: dict[str, Any]) -> None:
    method = given["method"]
    step = {key: value for key, value in given.items() if key != "method"}
    plan = plan_memory(MINI, method, gpu_memory_gb=8, **step)
    assert plan.fits is False and plan.changes
    for change in plan.changes:
        total = replanned(change.flags, **given)
        assert change.total == total, change.flags
        assert change.saves == plan.total - total > 0
        assert change.fits == (total <= 8e9)


def test_each_change_is_told_with_its_saving() -> None:
    plan = plan_memory(MINI, "qlora", gpu_memory_gb=8)
    less = plan_memory(MINI, "qlora", checkpointing=True, gpu_memory_gb=8)
    assert less.fits and not less.advice and not less.changes
    assert plan.advice[0] == (
        f"--checkpointing takes {less.total / 1e9:.1f} GB, saves "
        f"{(plan.total - less.total) / 1e9:.1f}")


def test_what_does_not_suffice_says_so() -> None:
    plan = plan_memory(MINI, "full", gpu_memory_gb=8)
    first = plan.changes[0]
    assert first.flags == "--checkpointing" and not first.fits
    assert plan.advice[0].endswith("not enough by itself")


def test_what_nothing_makes_fit_ends_in_the_least_that_there_is() -> None:
    plan = plan_memory(shape_of("70B"), "lora", gpu_memory_gb=8)
    assert not any(change.fits for change in plan.changes)
    assert re.search(r"even qlora .* takes [\d.]+ GB: take more or larger cards",
                     plan.advice[-1])


@pytest.mark.parametrize("given", [{}, {"rank": 256}, {"rank": 4, "context": 300},
                                   {"float32": True}, {"place": "cpu", "batch": 4}])
def test_the_least_that_there_is_takes_what_its_flags_take(given: dict[str, Any]) -> None:
    plan = plan_memory(MINI, "lora", gpu_memory_gb=1, **given)
    said = re.fullmatch(r"even qlora at (--checkpointing .*) takes ([\d.]+) GB: .*",
                        plan.advice[-1])
    assert said
    assert ("--rank 8" in said[1]) == (given.get("rank", 16) > 8)
    assert said[2] == f"{replanned(said[1], **given | {'method': 'qlora'}) / 1e9:.1f}"


@pytest.mark.parametrize("checkpointing", [True, False])
def test_the_largest_that_fits_fits_and_more_does_not(checkpointing: bool) -> None:
    shape = shape_of("phi-3-mini-128k")
    plan = plan_memory(shape, "qlora", checkpointing=checkpointing, gpu_memory_gb=24)
    assert plan.longest_context is not None and plan.largest_batch is not None

    def fits(**step: Any) -> bool | None:
        return plan_memory(shape, "qlora", checkpointing=checkpointing, gpu_memory_gb=24,
                           **step).fits

    assert (fits(context=plan.longest_context), fits(context=plan.longest_context + 256)) == (
        True, False)
    assert (fits(batch=plan.largest_batch), fits(batch=plan.largest_batch + 1)) == (True, False)


@pytest.mark.parametrize(("model", "context"), [
    ("7B", 8192),  # beyond what is looked at for a size, whose context nobody knows
    ("phi-3-mini", 8192), ("phi-3-mini", 100), ("phi-3-mini", 300)])
def test_the_longest_that_fits_is_not_below_the_one_that_fits(model: str, context: int) -> None:
    shape = shape_of(model)
    plan = plan_memory(shape, "qlora", context=context, gpu_memory_gb=80)
    assert plan.fits and plan.longest_context is not None and plan.longest_context >= context
    # With no more room than the step takes, it is the step's own.
    just = plan_memory(shape, "qlora", context=context, gpu_memory_gb=plan.total / 1e9 + 1e-6)
    assert (just.fits, just.longest_context) == (True, context)


def test_a_size_has_no_context_of_its_own_to_be_beyond() -> None:
    def told(model: str) -> str:
        return " ".join(plan_memory(shape_of(model), "qlora", context=8192).assumptions)

    assert "beyond the model's own of 4096" in told("phi-3-mini")
    assert "beyond" not in told("7B")
