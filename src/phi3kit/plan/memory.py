"""Memory of training, by part, before it is spent.

All figures are bytes. What is counted, and where each factor comes from:

- frozen weights in bfloat16: 2 bytes; in NF4 with double quantisation 4 bits plus 0.127 bits
  of quantisation constants per weight (Dettmers et al. 2023, QLoRA, section 3) for the decoder
  layers' linear modules, 2 bytes for embeddings, output layer and norms;
- a LoRA adapter of rank r: r * (inputs + outputs) weights per adapted module (Hu et al. 2021),
  in float32 with float32 gradients and two float32 Adam moments: 4 + 4 + 8 bytes each;
- full fine-tuning with mixed precision and Adam: 16 bytes per weight: 2 weights, 2 gradients,
  12 optimizer (float32 copy and two moments) (Rajbhandari et al. 2020, ZeRO, section 3.1);
- activations: the bytes that `phi3kit finetune` holds per token, counted by following every
  storage through a training step (a test repeats the count). With h, k, i and v the widths of
  the layer, the keys, the feed-forward layer and the vocabulary, a layer holds
  20h + 6k + 8i bytes (16h + 4k + 8i where query, key and value, and gate and up, are modules
  of their own): 16-bit tensors, but float32 inside the norms. The attention matrix is never
  held: memory-efficient attention computes it in blocks (Korthikanti et al. 2022, section 4,
  count 34h for a classic layer of i = 4h);
- gradient checkpointing (Chen et al. 2016) keeps 2h bytes per layer and recomputes one layer
  at a time, which with its gradients takes 4h + 4i bytes more;
- the loss: 12v bytes per answer token, for float32 logits, log-probabilities and gradient; the
  plan takes every token for one. It peaks before any layer is recomputed, so the larger of
  the two counts;
- per card 0.8 GiB for the driver's context and kernels, and 5% for fragmentation;
- several cards: weights, adapter, gradients and optimizer sharded evenly (ZeRO-3, FSDP);
  activations, and one layer's gathered weights, on each.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from phi3kit.plan.shapes import Shape
from phi3kit.records import MemoryPlan

Method = Literal["full", "lora", "qlora"]
METHODS: tuple[Method, ...] = ("full", "lora", "qlora")
CARDS_GB = (24, 40, 48, 80, 141)

GB = 10**9
_NF4_BITS = 4 + 0.127
_CONTEXT_BYTES = int(0.8 * 2**30)
_FRAGMENTATION = 0.05
_MOST_CARDS = 1024
_MOST_ROWS = 65_536  # what finetune.batch_size takes


@dataclass(frozen=True, slots=True)
class Step:
    """One training step to plan for.

    Attributes:
        context: tokens per row.
        batch: rows per forward pass.
        rank: of the adapter; full fine-tuning has none.
        checkpointing: activations are recomputed in the backward pass, not kept.
    """

    context: int = 2048
    batch: int = 1
    rank: int = 16
    checkpointing: bool = False


def plan_memory(shape: Shape, method: Method, *, context: int = 2048, batch: int = 1,
                rank: int = 16, checkpointing: bool = False,
                gpu_memory_gb: float | None = None) -> MemoryPlan:
    """Memory of one training step on one card, and how many cards of each size hold it.

    Args:
        shape: the model's.
        method: "full", "lora" or "qlora".
        context: tokens per row.
        batch: rows per forward pass.
        rank: of the adapter; full fine-tuning has none.
        checkpointing: activations are recomputed in the backward pass, not kept.
        gpu_memory_gb: the user's card; adds whether it fits and what to change if not.
    """
    step = Step(context, batch, rank, checkpointing)
    parts = _parts(shape, method, step)
    total = sum(parts.values())
    fits = None if gpu_memory_gb is None else total <= gpu_memory_gb * GB
    advice: tuple[str, ...] = ()
    if gpu_memory_gb is not None and not fits:
        advice = _advice(shape, method, step, gpu_memory_gb)
    gathered = _gathered(shape, method)
    batch_that_fits = longest = None
    if gpu_memory_gb is not None:
        batch_that_fits = largest_batch(shape, method, step, memory_gb=gpu_memory_gb)
        longest = longest_context(shape, method, step, memory_gb=gpu_memory_gb)
    return MemoryPlan(
        model=shape.name, parameters=shape.parameters, method=method, context=context,
        batch=batch, parts=parts, total=total,
        gpus={f"{card}": gpus_needed(parts, card, gathered) for card in CARDS_GB},
        fits=fits, advice=advice, assumptions=_assumptions(shape, method, step),
        largest_batch=batch_that_fits, longest_context=longest)


def adapter_parameters(shape: Shape, rank: int) -> int:
    """Trained weights of a LoRA adapter on every linear module of the decoder layers."""
    return rank * sum(shape.linear_widths) * shape.layers


def gpus_needed(parts: Mapping[str, int], card_gb: float, gathered: int) -> int | None:
    """The fewest cards of `card_gb` that hold a training step; None when no number does.

    Args:
        parts: bytes by part, of the step on one card.
        card_gb: memory of each card.
        gathered: bytes of the layer that a card collects from the others to compute it.
    """
    states = sum(parts[name] for name in ("weights", "adapter", "gradients", "optimizer"))
    own = parts["activations"] + _CONTEXT_BYTES
    room = card_gb * GB / (1 + _FRAGMENTATION) - own
    if states <= room:
        return 1
    if room <= gathered:
        return None
    cards = math.ceil(states / (room - gathered))
    return cards if cards <= _MOST_CARDS else None


def _gathered(shape: Shape, method: Method) -> int:
    return int(_linear_bytes(method) * shape.linear / shape.layers)


def _linear_bytes(method: Method) -> float:
    return _NF4_BITS / 8 if method == "qlora" else 2


def _parts(shape: Shape, method: Method, step: Step) -> dict[str, int]:
    trained = shape.parameters if method == "full" else adapter_parameters(shape, step.rank)
    weights = shape.linear * _linear_bytes(method) + (shape.parameters - shape.linear) * 2
    parts = {
        "weights": int(weights),
        "adapter": 0 if method == "full" else 4 * trained,
        "gradients": (2 if method == "full" else 4) * trained,
        "optimizer": (12 if method == "full" else 8) * trained,
        "activations": _activations(shape, method, step),
    }
    parts["overhead"] = _CONTEXT_BYTES + int(_FRAGMENTATION * (sum(parts.values())
                                                              + _CONTEXT_BYTES))
    return parts


def layer_activations(shape: Shape) -> int:
    """Bytes that one decoder layer holds per token between forward and backward."""
    attention = (20 * shape.hidden + 6 * shape.key_width if shape.fused else
                 16 * shape.hidden + 4 * shape.key_width)
    return attention + 8 * shape.intermediate


def _activations(shape: Shape, method: Method, step: Step) -> int:
    tokens = step.context * step.batch
    layer = layer_activations(shape)
    head = 12 * shape.vocab + 6 * shape.hidden  # the loss, and the last norm
    if step.checkpointing:
        kept = 2 * shape.hidden * shape.layers
        peak = max(head, layer + 4 * shape.hidden + 4 * shape.intermediate)
    else:
        kept = layer * shape.layers
        peak = max(head, 21 * shape.hidden)
    fixed = 0
    if method != "full":
        # A and B in the type of the arithmetic, as long as their layer's activations.
        cast = 2 * adapter_parameters(shape, step.rank)
        fixed += cast // shape.layers if step.checkpointing else cast
    if method == "qlora":  # a layer's weights, dequantised while it is computed
        fixed += 2 * shape.linear // shape.layers
    return tokens * (kept + peak) + fixed


def _total_gb(shape: Shape, method: Method, step: Step) -> float:
    return sum(_parts(shape, method, step).values()) / GB


def _advice(shape: Shape, method: Method, step: Step, memory_gb: float) -> tuple[str, ...]:
    """What would make it fit, with the figures; the least change first."""
    lines: list[str] = []
    one = replace(step, batch=1)
    less = replace(step, checkpointing=True)
    if not step.checkpointing and _total_gb(shape, method, less) <= memory_gb:
        lines.append(f"--checkpointing takes {_total_gb(shape, method, less):.1f} GB, with slower "
                     "steps")
    if step.batch > 1 and _total_gb(shape, method, one) <= memory_gb:
        lines.append(f"--batch 1 takes {_total_gb(shape, method, one):.1f} GB; accumulate "
                     "gradients instead")
    longest = longest_context(shape, method, one, memory_gb=memory_gb)
    if longest is not None and longest < step.context:
        lines.append(f"--batch 1 --context {longest} is the longest that fits")
    smaller = _smaller_method(shape, method, one, memory_gb)
    if smaller:
        lines.append(smaller)
    if not lines:
        need = _total_gb(shape, "qlora", replace(less, batch=1, context=512))
        lines.append(f"even qlora at --checkpointing --batch 1 --context 512 takes {need:.1f} GB: "
                     "take more or larger cards, or a smaller model")
    return tuple(lines)


def _smaller_method(shape: Shape, method: Method, one: Step, memory_gb: float) -> str:
    """The next method that fits one row, as the step is or else with checkpointing."""
    for other in METHODS[METHODS.index(method) + 1:]:
        for step in (one, replace(one, checkpointing=True)):
            need = _total_gb(shape, other, step)
            if need <= memory_gb:
                added = "" if step == one else " --checkpointing"
                return f"--method {other}{added} takes {need:.1f} GB at --batch 1"
    return ""


def longest_context(shape: Shape, method: Method, step: Step, *, memory_gb: float) -> int | None:
    """The longest context, in steps of 256 up to the model's, that fits; None if none does.

    Args:
        step: what else is fixed; its own context does not matter.
    """
    steps = range(256, shape.context + 1, 256)
    # Memory grows with context: halve the range instead of trying each of 512 steps.
    fitting = bisect_right(steps, memory_gb,
                           key=lambda context: _total_gb(shape, method,
                                                         replace(step, context=context)))
    return steps[fitting - 1] if fitting else None


def largest_batch(shape: Shape, method: Method, step: Step, *, memory_gb: float) -> int | None:
    """The most rows of the step's context that fit; None if not even one does.

    Args:
        step: what else is fixed; its own batch does not matter.
    """
    fitting = bisect_right(range(1, _MOST_ROWS + 1), memory_gb,
                           key=lambda batch: _total_gb(shape, method, replace(step, batch=batch)))
    return fitting or None


def _assumptions(shape: Shape, method: Method, step: Step) -> tuple[str, ...]:
    kept = "gradient checkpointing" if step.checkpointing else "activations kept"
    lines = [f"{kept}, memory-efficient attention, AdamW, 16-bit activations"]
    if method != "full":
        lines.append(f"an adapter of rank {step.rank} on every linear layer "
                     f"({adapter_parameters(shape, step.rank) / 1e6:.1f} M weights, float32)")
    if method == "qlora":
        lines.append("NF4 with double quantisation for the linear layers, 16 bits for the rest")
    lines.append("several cards: weights and optimizer sharded evenly, activations on each")
    if step.context > shape.context:
        lines.append(f"a context beyond the model's own of {shape.context} tokens")
    if shape.assumption:
        lines.append(shape.assumption)
    return tuple(lines)
