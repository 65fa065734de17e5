"""Attention over rows of a training on a CPU, in plain matrix products, each row by itself.

torch's own kernel for CPUs splits the work by row and head, and its backward pays a set-up for
each: on one core it takes 4 times as long as the products below for rows of 128 to 512 tokens, 2.5
times for one of 1,024. It also repeats the keys and values of grouped heads, which the products
need not. They go by blocks of queries, each with the keys up to its end, so that little of what
the mask would throw away is computed.

Rows that are laid end to end are told apart by their positions, which begin anew in each. So no
mask over all of them is made, and nothing is computed between one row and another.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from phi3kit.models.attention import BEYOND, in_place_of_torch

_NAME = "phi3kit_short_rows"
# Longer rows take torch's kernel: the weights that are kept for the backward grow with the
# square of the length, a byte each per head.
LONGEST = 1024
_BLOCK = 128  # queries
# Rows are filled up to a multiple of it: products are set up anew for each shape that was not met
# among the last ones.
_STEP = 16


@contextlib.contextmanager
def short_rows(model: Any) -> Iterator[None]:
    """Let `model` attend in this way, where it can: on a CPU, in place of torch's kernel."""
    with in_place_of_torch(model, _NAME, _attend, _mask_between):
        yield


def _mask_between(**asked: Any) -> Any:
    """transformers' mask for `_attend`: None where a row may look at all of it that came before.

    Also where rows are laid end to end, which `_attend` sees by itself.
    """
    from transformers.masking_utils import sdpa_mask

    plain = (asked["q_length"] == asked["kv_length"] and asked.get("attention_mask") is None
             and asked.get("local_size") is None and not asked.get("use_vmap"))
    return None if plain else sdpa_mask(**asked)


def lengths_of(position_ids: Any | None, length: int) -> list[int]:
    """Tokens of each row of those that are laid end to end in one, by where positions begin.

    Args:
        position_ids: int64[1, length]; None, and more than one row, are not laid end to end.
    """
    if position_ids is None or tuple(position_ids.shape) != (1, length):
        return [length]
    starts = (position_ids[0, 1:] == 0).nonzero()[:, 0].tolist()
    ends = [*(at + 1 for at in starts), length]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _attend(module: Any, query: Any, key: Any, value: Any, attention_mask: Any,
            position_ids: Any | None = None, **others: Any) -> tuple[Any, None]:
    """transformers' interface: query [rows, heads, length, size] to [rows, length, heads, size].

    Under autocast all of it is computed in autocast's type, forward and backward, as torch's own
    kernel is: rotary positions make queries and keys float32 again where the layers' inputs are.
    """
    import torch

    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        with torch.autocast("cpu", enabled=False):
            return _attend(module, query.to(dtype), key.to(dtype), value.to(dtype),
                           attention_mask, position_ids, **others)
    length = query.shape[2]
    lengths = [length]
    if attention_mask is None and query.shape[0] == 1 and key.shape[2] == length:
        lengths = lengths_of(position_ids, length)
    if len(lengths) == 1:
        return _row(module, query, key, value, attention_mask, **others), None
    rows = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
    return torch.cat([_row(module, q, k, v, None, **others) for q, k, v in rows], dim=1), None


def _row(module: Any, query: Any, key: Any, value: Any, attention_mask: Any,
         dropout: float = 0.0, scaling: float | None = None, is_causal: bool | None = None,
         **others: Any) -> Any:
    """As `_attend`, for rows of one length."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    plain = (attention_mask is None and causal and not dropout
             and query.shape[2] == key.shape[2] <= LONGEST
             and all(others.get(name) is None for name in BEYOND))
    if not plain:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling,
            is_causal=is_causal, **others)[0]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = _product().apply(query, key, value, scale)
    return out.transpose(1, 2).contiguous()


@functools.lru_cache(maxsize=64)
def _mask(new: int, seen: int, groups: int, dtype: Any) -> Any:
    """[1, groups * new, seen]: 0 where one of the last `new` tokens may look, else -inf."""
    import torch

    full = torch.full((new, seen), float("-inf"), dtype=dtype)
    return full.triu(seen - new + 1).repeat(groups, 1).unsqueeze(0)


def _filled(tensor: Any) -> Any:
    """[rows, heads, length, size] with zeros up to a length that is a multiple of `_STEP`."""
    import torch

    return torch.nn.functional.pad(tensor, (0, 0, 0, -tensor.shape[2] % _STEP))


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(at, min(length, at + _BLOCK)) for at in range(0, length, _BLOCK)]


@functools.cache
def _product() -> Any:
    """The autograd function; made on first use, for torch is not imported at start-up."""
    import torch

    class CausalAttention(torch.autograd.Function):  # type: ignore[misc]
        """O = P V with P = softmax(s Q Kᵀ + mask) (Vaswani et al. 2017, equation 1).

        The query heads that share a key head are stacked into one product. With G the
        gradient of O: dV = PᵀG, dP = G Vᵀ, dS from softmax, dQ = s dS K, dK = s dSᵀQ, which
        sums over the stack, and over the blocks in float32.

        What fills a row up is zero and stands behind it: no token of the row looks at it, and
        its gradients are zero.
        """

        @staticmethod
        def forward(ctx: Any, query: Any, key: Any, value: Any, scale: float) -> Any:
            rows, heads, own, size = query.shape
            shared = key.shape[1]
            query, key, value = map(_filled, (query, key, value))
            length = query.shape[2]
            k = key.reshape(rows * shared, length, size)
            v = value.reshape(rows * shared, length, value.shape[-1])
            out = query.new_empty(rows, heads, length, v.shape[-1])
            kept = []
            for at, end in _blocks(length):
                q = query[:, :, at:end].reshape(rows * shared, -1, size)
                mask = _mask(end - at, end, heads // shared, q.dtype)
                weights = torch.softmax(
                    torch.baddbmm(mask, q, k[:, :end].transpose(1, 2), alpha=scale), dim=-1)
                out[:, :, at:end] = torch.bmm(weights, v[:, :end]).view(
                    rows, heads, end - at, -1)
                kept += [q, weights]
            ctx.save_for_backward(k, v, *kept)
            ctx.scale = scale
            ctx.shapes, ctx.own = (query.shape, key.shape, value.shape), own
            return out[:, :, :own]

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            k, v, *kept = ctx.saved_tensors
            of_query, of_key, of_value = ctx.shapes
            given = _filled(grads[0])
            to_query = given.new_empty(of_query)
            to_key, to_value = (torch.zeros_like(t, dtype=torch.promote_types(
                t.dtype, torch.float32)) for t in (k, v))
            for number, (at, end) in enumerate(_blocks(of_query[2])):
                q, weights = kept[2 * number:2 * number + 2]
                g = given[:, :, at:end].reshape(*q.shape[:2], -1)
                to_weights = torch.bmm(g, v[:, :end].transpose(1, 2))
                to_scores = torch.ops.aten._softmax_backward_data(
                    to_weights, weights, -1, weights.dtype)
                to_query[:, :, at:end] = torch.bmm(to_scores, k[:, :end]).mul_(ctx.scale).view(
                    *of_query[:2], end - at, -1)
                to_key[:, :end] += torch.bmm(to_scores.transpose(1, 2), q)
                to_value[:, :end] += torch.bmm(weights.transpose(1, 2), g)
            found = (to_query, to_key.mul_(ctx.scale).to(k.dtype).view(of_key),
                     to_value.to(v.dtype).view(of_value))
            return (*(gradient[:, :, :ctx.own] for gradient in found), None)

    return CausalAttention
