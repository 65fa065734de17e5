"""Memory of training, by part, before it is spent.

All figures are bytes. What is counted, and where each factor comes from:

- frozen weights in bfloat16: 2 bytes, in float32 4; in NF4 with double quantisation 4 bits plus
  0.127 bits of quantisation constants per weight (Dettmers et al. 2023, QLoRA, section 3) for the
  decoder layers' linear modules, 2 or 4 bytes for embeddings, output layer and norms;
- a LoRA adapter of rank r: r * (inputs + outputs) weights per adapted module (Hu et al. 2021),
  in float32 with float32 gradients and two float32 Adam moments: 4 + 4 + 8 bytes each;
- full fine-tuning with mixed precision and Adam: 16 bytes per weight (Rajbhandari et al. 2020,
  ZeRO, section 3.1), which `finetune` spends on float32: 4 weights, 4 gradients, 8 moments;
- copies: weights in the type of the arithmetic, beside those that are kept; see `copies`;
- activations: see `activations`;
- overhead on a card: see `cards`. On a CPU the libraries, their kernels, and what the allocator
  holds between blocks: measured, see `process`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from phi3kit.plan import process
from phi3kit.plan.activations import activations, copies
from phi3kit.plan.cards import (
    CARDS_GB,
    CONTEXT_BYTES,
    FRAGMENTATION,
    GB,
    checkpoint_gathered,
    frozen_bytes,
    gpus_needed,
    on_each,
)
from phi3kit.plan.fitting import advice, changes, largest_batch, longest_context, smaller_steps
from phi3kit.plan.shapes import Shape
from phi3kit.plan.step import ENDS, METHODS, End, Method, Place, Step
from phi3kit.records import MemoryPlan, PlanChange

__all__ = ["GB", "METHODS", "Method", "Step", "adapter_parameters", "parts_of", "plan_memory"]

# Bytes per trained weight: the weight, its gradient, its two moments.
_TRAINED: Mapping[str, int] = MappingProxyType({"weights": 4, "gradients": 4, "optimizer": 8})


def plan_memory(shape: Shape, method: Method, *, context: int = 2048, batch: int = 1,
                rank: int = 16, checkpointing: bool = False, place: Place = "gpu",
                float32: bool = False, lanes: int = 1, gpu_memory_gb: float | None = None,
                gpus: int = 1) -> MemoryPlan:
    """Memory of one training step on one card, and how many cards of each size hold it.

    Args:
        shape: the model's.
        method: "full", "lora" or "qlora".
        context: tokens per row.
        batch: rows per forward pass.
        rank: of the adapter; full fine-tuning has none.
        checkpointing: activations are recomputed in the backward pass, not kept.
        place: "cpu" plans for the resident memory of the process, and for no cards.
        float32: the arithmetic, in place of 16 bits.
        lanes: passes that a CPU computes side by side.
        gpu_memory_gb: the user's card; adds whether it fits and what to change if not.
        gpus: how many of these cards there are; they share the step out where one is too small.
    """
    step = Step(context, batch, rank, checkpointing, place=place, float32=float32, lanes=lanes)
    ends = {end: parts_of(shape, method, step, end) for end in ENDS}
    parts = ends["expected"]
    total = sum(parts.values())

    def need(other: Method, changed: Step) -> int:
        return on_each(shape, other, parts_of(shape, other, changed), gpus,
                       float32=changed.float32)

    fits = None if gpu_memory_gb is None else need(method, step) <= gpu_memory_gb * GB
    batch_that_fits = longest = None
    found: tuple[PlanChange, ...] = ()
    if gpu_memory_gb is not None:
        most = max(shape.context, context)
        batch_that_fits = largest_batch(need, method, step, gpu_memory_gb)
        longest = longest_context(need, method, step, gpu_memory_gb, most=most)
        found = () if fits else changes(need, method, step, gpu_memory_gb, most=most)
    counts = {} if place == "cpu" else {
        str(card): {end: gpus_needed(shape, method, ends[end], card, end, float32=float32)
                    for end in ENDS}
        for card in CARDS_GB}
    told = advice(found, need, step, fits) if gpu_memory_gb is not None else _for_some_cards(
        shape, method, step, {card: by_end["expected"] for card, by_end in counts.items()})
    return MemoryPlan(
        model=shape.name, parameters=shape.parameters, method=method, context=context,
        batch=batch, parts=parts, total=total, low=ends["low"], high=ends["high"],
        gpus={card: by_end["expected"] for card, by_end in counts.items()},
        gpus_low={card: by_end["low"] for card, by_end in counts.items()},
        gpus_high={card: by_end["high"] for card, by_end in counts.items()},
        fits=fits, advice=told, changes=found,
        assumptions=_assumptions(shape, method, step), largest_batch=batch_that_fits,
        longest_context=longest)


def adapter_parameters(shape: Shape, rank: int) -> int:
    """Trained weights of a LoRA adapter on every linear module of the decoder layers."""
    return rank * sum(shape.linear_widths) * shape.layers


def parts_of(shape: Shape, method: Method, step: Step, end: End = "expected") -> dict[str, int]:
    """Bytes by part, at one end of the range: "low", "expected" or "high".

    The overhead has a range, and so has the loss of full fine-tuning: "low" takes a quarter as
    many of the tokens for answers. The rest is counted, not estimated.
    """
    if end == "low" and method == "full":
        step = replace(step, answers=step.answers / 4)
    trained = shape.parameters if method == "full" else adapter_parameters(shape, step.rank)
    frozen = 0 if method == "full" else int(
        shape.linear * frozen_bytes(method, float32=step.float32)
        + (shape.parameters - shape.linear) * step.number_bytes)
    parts = {
        "weights": _TRAINED["weights"] * trained if method == "full" else frozen,
        "adapter": 0 if method == "full" else _TRAINED["weights"] * trained,
        # Each lane adds up its own; what was computed one by one before them has a sum as well.
        "gradients": _TRAINED["gradients"] * trained * (1 if step.lanes == 1 else 1 + step.lanes),
        "optimizer": _TRAINED["optimizer"] * trained,
        "copies": copies(shape, method, step, trained),
        "activations": activations(shape, method, step),
    }
    if step.place == "cpu":
        parts["overhead"] = process.overhead(parts, method, step, end)
    else:
        held = sum(parts.values()) + CONTEXT_BYTES[end]
        parts["overhead"] = CONTEXT_BYTES[end] + int(FRAGMENTATION[end] * held)
    return parts


def _for_some_cards(shape: Shape, method: Method, step: Step,
                    counts: Mapping[str, int | None]) -> tuple[str, ...]:
    """What to change where no number of cards of some size holds the step; in words."""
    small = [card for card, count in counts.items() if count is None]
    told: tuple[str, ...] = ()
    fewest = len(small)
    for flags, smaller in smaller_steps(step):
        parts = parts_of(shape, method, smaller)
        now = {card: gpus_needed(shape, method, parts, float(card), float32=step.float32)
               for card in small}
        left = sum(count is None for count in now.values())
        if left < fewest:
            fewest = left
            told = (f"'none': what each card holds for itself fills it. {flags} takes "
                    + ", ".join(f"{count or 'none'} of {card} GB" for card, count in now.items()),)
    if fewest:
        told += ("no change of the step suffices for the smallest cards: take larger ones, "
                 "or --method qlora or a smaller model",)
    return told


def _assumptions(shape: Shape, method: Method, step: Step) -> tuple[str, ...]:
    kept = "gradient checkpointing" if step.checkpointing else "activations kept"
    lines = [f"{kept}, memory-efficient attention, AdamW, "
             f"{'float32' if step.float32 else '16-bit'} activations"]
    if method != "full":
        lines.append(f"an adapter of rank {step.rank} on every linear layer "
                     f"({adapter_parameters(shape, step.rank) / 1e6:.1f} M weights, float32)")
    if method == "qlora":
        lines.append("NF4 with double quantisation for the linear layers, "
                     f"{8 * step.number_bytes} bits for the rest")
    if step.place == "gpu":
        lines.append("several cards, as `phi3kit finetune --shard` has them: " + (
            "weights, gradients and optimizer divided evenly (FSDP), what is gathered and "
            "activations on each" if method == "full" else
            "the layers divided evenly (FSDP), embeddings, adapter and activations on each"))
        if method == "full":
            lines.append("sharded, the first process gathers each checkpoint in the host's memory: "
                         f"{checkpoint_gathered(shape) / GB:,.0f} GB")
    else:
        beside = f", {step.lanes} passes side by side on its cores" if step.lanes > 1 else ""
        lines.append(f"resident memory of the process, libraries included{beside}")
    if step.context > shape.context and shape.context_known:
        lines.append(f"a context beyond the model's own of {shape.context} tokens")
    if shape.assumption:
        lines.append(shape.assumption)
    return tuple(lines)
