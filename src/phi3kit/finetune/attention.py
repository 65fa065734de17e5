"""Attention over short rows on a CPU, in plain matrix products.

torch's own kernel for CPUs splits the work by row and head, and its backward pays a set-up for
each: at 16 rows of 32 tokens it takes 8 times as long as the products below, at 4 rows of 128
2.5 times, at one of 512 as long. It also repeats the keys and values of grouped heads, which the
products need not.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from phi3kit.models.attention import BEYOND, in_place_of_torch

_NAME = "phi3kit_short_rows"
# Longer rows take torch's kernel: the weights that are kept for the backward grow with the
# square of the length, 2 bytes each per head, and the gain is gone.
LONGEST = 384


@contextlib.contextmanager
def short_rows(model: Any) -> Iterator[None]:
    """Let `model` attend in this way, where it can: on a CPU, in place of torch's kernel."""
    from transformers.masking_utils import sdpa_mask

    with in_place_of_torch(model, _NAME, _attend, sdpa_mask):
        yield


def _attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any,
            dropout: float = 0.0, scaling: float | None = None, is_causal: bool | None = None,
            **others: Any) -> tuple[Any, None]:
    """transformers' interface: query [rows, heads, length, size] to [rows, length, heads, size]."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    plain = (attention_mask is None and causal and not dropout
             and query.shape[2] == key.shape[2] <= LONGEST
             and all(others.get(name) is None for name in BEYOND))
    if not plain:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found: tuple[Any, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling,
            is_causal=is_causal, **others)
        return found
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = _product().apply(query, key, value, scale)
    return out.transpose(1, 2).contiguous(), None


@functools.lru_cache(maxsize=16)
def _mask(length: int, groups: int, dtype: Any) -> Any:
    """[1, groups * length, length]: 0 where a token may look, -inf at those behind it."""
    import torch

    full = torch.full((length, length), float("-inf"), dtype=dtype)
    return full.triu(1).repeat(groups, 1).unsqueeze(0)


@functools.cache
def _product() -> Any:
    """The autograd function; made on first use, for torch is not imported at start-up."""
    import torch

    class CausalAttention(torch.autograd.Function):  # type: ignore[misc]
        """O = P V with P = softmax(s Q Kᵀ + mask) (Vaswani et al. 2017, equation 1).

        The query heads that share a key head are stacked into one product. With G the
        gradient of O: dV = PᵀG, dP = G Vᵀ, dS from softmax, dQ = s dS K, dK = s dSᵀQ, which
        sums over the stack.
        """

        @staticmethod
        def forward(ctx: Any, query: Any, key: Any, value: Any, scale: float) -> Any:
            rows, heads, length, size = query.shape
            shared = key.shape[1]
            groups = heads // shared
            q = query.reshape(rows * shared, groups * length, size)
            k = key.reshape(rows * shared, length, size)
            v = value.reshape(rows * shared, length, value.shape[-1])
            scores = torch.baddbmm(_mask(length, groups, q.dtype), q, k.transpose(1, 2),
                                   alpha=scale)
            weights = torch.softmax(scores, dim=-1)
            ctx.save_for_backward(q, k, v, weights)
            ctx.scale = scale
            ctx.shapes = query.shape, key.shape, value.shape
            return torch.bmm(weights, v).view(rows, heads, length, v.shape[-1])

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            q, k, v, weights = ctx.saved_tensors
            of_query, of_key, of_value = ctx.shapes
            g = grads[0].reshape(q.shape[0], q.shape[1], v.shape[-1])
            to_weights = torch.bmm(g, v.transpose(1, 2))
            to_scores = torch.ops.aten._softmax_backward_data(
                to_weights, weights, -1, weights.dtype)
            return (torch.bmm(to_scores, k).mul_(ctx.scale).view(of_query),
                    torch.bmm(to_scores.transpose(1, 2), q).mul_(ctx.scale).view(of_key),
                    torch.bmm(weights.transpose(1, 2), g).view(of_value), None)

    return CausalAttention
