"""What fits a memory: the largest batch and context, and what to change when a step does not."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from phi3kit.plan.step import METHODS, Method, Step
from phi3kit.records import PlanChange

_GB = 10**9
_MOST_ROWS = 65_536  # what finetune.batch_size takes
_CONTEXT_STEP = 256
_LEAST_CONTEXT = 512
_SMALL_RANK = 8

Need = Callable[[Method, Step], int]
"""Bytes that a step takes."""


def largest_batch(need: Need, method: Method, step: Step, memory_gb: float) -> int | None:
    """The most rows of the step's context that fit; None if not even one does."""
    return bisect_right(range(1, _MOST_ROWS + 1), memory_gb * _GB,
                        key=lambda batch: need(method, replace(step, batch=batch))) or None


def longest_context(need: Need, method: Method, step: Step, memory_gb: float, *,
                    most: int) -> int | None:
    """The longest context, in steps of 256 up to `most`, that fits; None if none does.

    The step's own is one of those that are tried, though it may be none of these steps.
    """
    steps = range(_CONTEXT_STEP, most + 1, _CONTEXT_STEP)
    # Memory grows with context: halve the range instead of trying each of 512 steps.
    fitting = bisect_right(steps, memory_gb * _GB,
                           key=lambda context: need(method, replace(step, context=context)))
    longest = steps[fitting - 1] if fitting else 0
    if longest < step.context and need(method, step) <= memory_gb * _GB:
        longest = step.context
    return longest or None


def changes(need: Need, method: Method, step: Step, memory_gb: float, *,
            most: int) -> tuple[PlanChange, ...]:
    """Each change that saves memory, with what it saves; the least change first.

    Args:
        need: bytes that a step takes.
        memory_gb: of the card that the step does not fit.
        most: tokens of the longest context to look at.
    """
    now, room = need(method, step), memory_gb * _GB
    found = []
    for flags, other, changed in _candidates(need, method, step, memory_gb, most):
        total = need(other, changed)
        if total < now:
            found.append(PlanChange(flags, now - total, total, total <= room))
    return tuple(found)


def advice(found: Sequence[PlanChange], need: Need, step: Step,
           fits: bool | None) -> tuple[str, ...]:
    """The changes in words; what the smallest step of all takes when none of them suffices."""
    if fits is not False:
        return ()
    lines = [f"{change.flags} takes {change.total / _GB:.1f} GB, saves {change.saves / _GB:.1f}"
             + ("" if change.fits else ": not enough by itself") for change in found]
    if not any(change.fits for change in found):
        least = replace(step, batch=1, checkpointing=True, rank=min(step.rank, _SMALL_RANK),
                        context=min(step.context, _LEAST_CONTEXT))
        rank = f" --rank {least.rank}" if least.rank < step.rank else ""
        lines.append(f"even qlora at --checkpointing --batch 1 --context {least.context}{rank} "
                     f"takes {need('qlora', least) / _GB:.1f} GB: take more or larger cards, or a "
                     "smaller model")
    return tuple(lines)


def smaller_steps(step: Step) -> Iterator[tuple[str, Step]]:
    """The flags that make a step smaller, the least change first, and the step with them."""
    changed = step
    flags: list[str] = []
    for flag, smaller in (("--checkpointing", {"checkpointing": True}), ("--batch 1", {"batch": 1}),
                          (f"--context {_LEAST_CONTEXT}",
                           {"context": min(step.context, _LEAST_CONTEXT)})):
        following = replace(changed, **smaller)  # type: ignore[arg-type]
        if following != changed:
            changed = following
            flags.append(flag)
            yield " ".join(flags), changed


def _candidates(need: Need, method: Method, step: Step, memory_gb: float,
                most: int) -> Iterator[tuple[str, Method, Step]]:
    one = replace(step, batch=1)
    less = replace(step, checkpointing=True)
    single = "--batch 1 " if step.batch > 1 else ""
    if not step.checkpointing:
        yield "--checkpointing", method, less
    if step.batch > 1:
        yield "--batch 1", method, one
    if step.batch > 1 and not step.checkpointing:
        yield "--checkpointing --batch 1", method, replace(less, batch=1)
    for base in (one, replace(one, checkpointing=True)):
        longest = longest_context(need, method, base, memory_gb, most=most)
        if longest is not None and longest < step.context:
            added = " --checkpointing" if base.checkpointing and not step.checkpointing else ""
            yield f"{single}--context {longest}{added}", method, replace(base, context=longest)
            break
    if method != "full" and step.rank > _SMALL_RANK:
        yield f"--rank {_SMALL_RANK}", method, replace(step, rank=_SMALL_RANK)
    smaller = _smaller_method(need, method, one, memory_gb)
    if smaller is not None:
        flags, other, changed = smaller
        yield single + flags, other, changed


def _smaller_method(need: Need, method: Method, one: Step,
                    memory_gb: float) -> tuple[str, Method, Step] | None:
    """The next method that fits one row, as the step is or else with checkpointing."""
    for other in METHODS[METHODS.index(method) + 1:]:
        for step in (one, replace(one, checkpointing=True)):
            if need(other, step) <= memory_gb * _GB:
                added = "" if step == one else " --checkpointing"
                return f"--method {other}{added}", other, step
    return None
