"""How many cards hold a training step, when its weights are sharded over them.

ZeRO-3 and FSDP divide weights, gradients and optimizer states evenly over the cards (Rajbhandari
et al. 2020, ZeRO, section 5; Zhao et al. 2023, PyTorch FSDP, section 3). Activations are not
divided: each card has rows of its own, and so it holds what one card alone holds for them. What
else is not, and what a card gathers from the others to compute with, is as `finetune --shard` has
it: see `shared_out`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from phi3kit.plan.shapes import Shape
from phi3kit.plan.step import End, Method

GB = 10**9
CARDS_GB = (24, 40, 48, 80, 141)
_MOST_CARDS = 1024

# What a card holds beside the tensors: the driver's context and the kernels, and what the
# allocator cannot use between blocks, as a share. Assumptions, not measured with this project.
CONTEXT_BYTES: Mapping[End, int] = {
    "low": int(0.4 * 2**30), "expected": int(0.8 * 2**30), "high": int(1.2 * 2**30)}
FRAGMENTATION: Mapping[End, float] = {"low": 0.0, "expected": 0.05, "high": 0.15}

# Of a quantised weight: 4 bits, and 0.127 bits of constants (Dettmers et al. 2023, section 3).
NF4_BYTES = (4 + 0.127) / 8


def gpus_needed(shape: Shape, method: Method, parts: Mapping[str, int], card_gb: float,
                end: End = "expected", *, float32: bool = False) -> int | None:
    """The fewest cards of `card_gb` that hold a training step; None when no number does.

    Args:
        parts: bytes by part, of the step on one card, at that end of the range.
        card_gb: memory of each card.
    """
    cards = 1 + bisect_left(range(1, _MOST_CARDS + 1), True, key=lambda count: on_each(
        shape, method, parts, count, end, float32=float32) <= card_gb * GB)
    return cards if cards <= _MOST_CARDS else None


def on_each(shape: Shape, method: Method, parts: Mapping[str, int], cards: int,
            end: End = "expected", *, float32: bool = False) -> int:
    """Bytes that each of several cards holds of a training step: shared out, where that is less.

    Args:
        parts: bytes by part, of the step on one card, at that end of the range.
    """
    whole = sum(parts.values())
    if cards == 1:
        return whole
    return min(whole, whole - int(
        shared_out(shape, method, cards, float32=float32) * (1 + FRAGMENTATION[end])))


def frozen_bytes(method: Method, *, float32: bool = False) -> float:
    """Of a weight of the decoder layers' linear modules, behind an adapter."""
    return NF4_BYTES if method == "qlora" else 4 if float32 else 2


def gathered(shape: Shape, method: Method, *, float32: bool = False) -> int:
    """Bytes of an adapter's layer that a card collects from the others to compute it."""
    return int(frozen_bytes(method, float32=float32) * shape.linear / shape.layers)


def shared_out(shape: Shape, method: Method, cards: int, *, float32: bool = False) -> int:
    """Bytes that `finetune --shard` takes off each of several cards.

    Of an adapter's base the frozen layers alone are divided there; two are gathered, one of them
    ahead, embeddings and adapter stay whole. Full fine-tuning divides all; see `gathered_whole` for
    what each holds beside its share. Below 0 where that is more than what is shared out.
    """
    if method == "full":
        states, copies = 16 * shape.parameters, 0 if float32 else 2 * shape.parameters
        return int(states * (1 - 1 / cards) + copies - gathered_whole(shape, float32=float32))
    layers = frozen_bytes(method, float32=float32) * shape.linear
    return int(layers * (1 - 1 / cards)) - 2 * gathered(shape, method, float32=float32)


def checkpoint_gathered(shape: Shape) -> int:
    """Bytes of host memory in which the first process gathers a checkpoint of shares.

    Weights and both moments, in 32 bits; see `finetune.shares`.
    """
    return 12 * shape.parameters


def gathered_whole(shape: Shape, *, float32: bool = False) -> int:
    """Bytes that full fine-tuning by shares holds on each card at the fullest moment of backward.

    Of the decoder layers two are gathered in 16 bits, the next one ahead, and one has gradients,
    in 16 bits and in the 32 bits that they are added up in; in float32 all of it in 32 bits.
    Embeddings and output layer are gathered in 32 bits for all of the pass, with the output layer's
    gradients in 32 bits. At the end their gradients are all there, beside the sums of the last
    layer's. A test compares with torch's own count.
    """
    layer, ends = shape.linear / shape.layers, shape.parameters - shape.linear
    size = 4 if float32 else 2
    within = (2 * size + size + 4) * layer + 4 * shape.vocab * shape.hidden
    return int(4 * ends + max(within, 4 * ends + 4 * layer))
