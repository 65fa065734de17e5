"""Attention over many prompts on a CPU, in plain matrix products.

torch's own kernel for CPUs does the work of each row and head by itself. For one new token of 32
rows over 330 earlier ones, in bfloat16 and with three query heads to a key head, it takes 21
times as long as the products below, for the prompts themselves twice as long.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from phi3kit.models.causal import causal_of

# What some models hand to attention beyond the mask, and plain products do not know.
BEYOND = ("softcap", "s_aux", "sinks", "position_bias", "cache")
_NAME = "phi3kit_grouped"
_REPEATED = "phi3kit_repeated"
# Scores that are held at once, so that they stay in a core's cache while they are worked on.
_AT_ONCE = 2**21
# Rows with more scores than this take torch's kernel, which never holds them all.
_LONGEST = 2**25


@contextlib.contextmanager
def grouped(model: Any) -> Iterator[None]:
    """Let `model` answer in this way, where it can: on a CPU, in place of torch's kernel."""
    from transformers.masking_utils import eager_mask

    with in_place_of_torch(model, _NAME, _attend, eager_mask):
        yield


@contextlib.contextmanager
def in_place_of_torch(model: Any, name: str, attend: Callable[..., tuple[Any, None]],
                      mask: Any) -> Iterator[None]:
    """Let `model` attend by `attend`, which transformers knows as `name`.

    Nothing is done on a GPU, or where the model has another attention than torch's.

    Args:
        mask: makes what `attend` gets as its mask; one of transformers' own.
    """
    if next(model.parameters()).device.type != "cpu":
        yield
        return
    with _swapped(model, name, attend, mask):
        yield


@contextlib.contextmanager
def repeated(model: Any) -> Iterator[None]:
    """Let `model` repeat keys and values of grouped heads, on cards older than Ampere.

    transformers leaves them grouped, which of torch's kernels for cards flash attention alone
    takes, and that one needs compute capability 8.0. Without it torch falls back to products that
    hold the square of the length for each head. Repeated, its memory-efficient kernel takes them
    (PyTorch's docs of `scaled_dot_product_attention`; sdp_utils.cpp). Not seen on such a card.
    """
    capability = _capability(model)
    if capability is None or capability >= (8, 0):
        yield
        return
    from transformers.masking_utils import sdpa_mask

    with _swapped(model, _REPEATED, _attend_repeated, sdpa_mask):
        yield


def _capability(model: Any) -> tuple[int, int] | None:
    """The compute capability of the model's CUDA card; None elsewhere."""
    import torch

    device = next(model.parameters()).device
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else None


def _attend_repeated(module: Any, query: Any, key: Any, value: Any, attention_mask: Any,
                     **others: Any) -> tuple[Any, None]:
    """transformers' interface: its attention, of a module that groups nothing."""
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    plain = SimpleNamespace(is_causal=getattr(module, "is_causal", True))
    groups = query.shape[1] // key.shape[1]
    found: tuple[Any, None] = sdpa_attention_forward(
        plain, query, repeat_kv(key, groups), repeat_kv(value, groups), attention_mask, **others)
    return found


@contextlib.contextmanager
def _swapped(model: Any, name: str, attend: Callable[..., tuple[Any, None]], mask: Any,
             ) -> Iterator[None]:
    causal = causal_of(model)
    if (causal.config._attn_implementation != "sdpa"
            or getattr(causal.config, "alibi", False)):  # Falcon's own would add it twice
        yield
        return
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, mask)
    causal.set_attn_implementation(name)
    try:
        yield
    finally:
        causal.set_attn_implementation("sdpa")


def _attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any,
            dropout: float = 0.0, scaling: float | None = None, **others: Any,
            ) -> tuple[Any, None]:
    """transformers' interface: query [rows, heads, new, size] to [rows, new, heads, size].

    The query heads that share a key head are stacked into one product, so that nothing is
    repeated.

    Args:
        key, value: [rows, key heads, length, size].
        attention_mask: [rows or 1, 1, new, length], added to the scores.
    """
    rows, heads, new, _ = query.shape
    scores = heads * new * key.shape[2]
    if (attention_mask is None or dropout or scores > _LONGEST
            or any(others.get(name) is not None for name in BEYOND)):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found: tuple[Any, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others)
        return found
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = query.new_empty(rows, new, heads, value.shape[-1])
    mask = attention_mask.expand(rows, -1, -1, -1)
    step = max(1, _AT_ONCE // scores)
    for at in range(0, rows, step):
        some = slice(at, at + step)
        out[some] = _products(query[some], key[some], value[some], mask[some], scale)
    return out, None


def _products(query: Any, key: Any, value: Any, mask: Any, scale: float) -> Any:
    """softmax(s Q Kᵀ + mask) V (Vaswani et al. 2017, equation 1): [rows, new, heads, size]."""
    import torch

    rows, heads, new, size = query.shape
    shared, length = key.shape[1:3]
    groups = heads // shared
    stacked = (rows * shared, groups * new)
    scores = mask.expand(rows, heads, new, length).reshape(*stacked, length).contiguous()
    scores.baddbmm_(query.reshape(*stacked, size),
                    key.reshape(-1, length, size).transpose(1, 2), alpha=scale)
    weights = torch.softmax(scores, dim=-1)
    found = torch.bmm(weights, value.reshape(-1, length, value.shape[-1]))
    return found.view(rows, heads, new, -1).transpose(1, 2)
