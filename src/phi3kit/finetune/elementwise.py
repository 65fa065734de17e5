"""RMSNorm and gated units on a CPU in fewer passes over memory, with less kept for the backward.

What transformers writes in a line each is an operation each, forward and backward, over
activations that no cache holds; and each operation keeps its input. Here the backward is written
out: a norm keeps its input as it came, in 16 bits, and a gated unit keeps gate and value, and forms
the activation again.

Which modules these are is not told by their names alone, for a model may scale or shift within
them: each is tried out on the very model, and left alone if anything else comes out.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from phi3kit.finetune.fused import is_shared_out

_PROBE = 8  # tokens
_EPSILONS = ("variance_epsilon", "eps", "epsilon")

Forward = Callable[[Any], Any]


@contextlib.contextmanager
def fewer_passes(model: Any) -> Iterator[None]:
    """Let `model` compute so where it can: on a CPU, and norms whose weight is frozen.

    Not where processes share the weights out, which are gathered around the modules' own forward.
    """
    changed = []
    try:
        if all(p.device.type == "cpu" and not is_shared_out(p) for p in model.parameters()):
            for module, forward in _alike(model):
                module.forward = forward
                changed.append(module)
        yield
    finally:
        for module in changed:
            del module.forward


def _alike(model: Any) -> Iterator[tuple[Any, Forward]]:
    """The modules that can compute so, with their new forward."""
    # What runs along the layers has the type of their matrices, which a norm's weight may not have:
    # then some cast before they scale and some after.
    along = {p.dtype for p in model.parameters()
             if p.dim() > 1 and p.is_floating_point() and not p.requires_grad}
    for module in model.modules():
        norm = _norm_of(module)
        found = norm or _gated_of(module)
        if found is not None and "forward" not in vars(module) and _takes_one(module):
            forward, size, dtype = found
            kinds = {dtype, *along} if norm else {dtype}
            if all(_same(module.forward, forward, size, kind) for kind in kinds):
                yield module, forward


def _takes_one(module: Any) -> bool:
    return len(inspect.signature(module.forward).parameters) == 1


def _same(one: Forward, other: Forward, size: int, dtype: Any) -> bool:
    """Whether both give the same within what rounding makes, in torch's own measure.

    Of small inputs and of large ones, for some gates are clamped.
    """
    import torch

    for scale in (1.0, 1000.0):
        outs = []
        for forward in (one, other):
            # The same noise, and the same masks of an adapter's dropout.
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(0)
                try:
                    outs.append(forward((scale * torch.randn(1, _PROBE, size)).to(dtype)))
                except (RuntimeError, TypeError, ValueError):  # what it takes is not known
                    return False
        try:
            torch.testing.assert_close(*outs, equal_nan=True)
        except AssertionError:
            return False
    return True


def _norm_of(module: Any) -> tuple[Forward, int, Any] | None:
    """The forward of a frozen RMSNorm, its input's size and type; None for any other module."""
    weight = getattr(module, "weight", None)
    eps = next((getattr(module, name) for name in _EPSILONS if hasattr(module, name)), None)
    if (not type(module).__name__.endswith("RMSNorm") or not isinstance(eps, float)
            or list(module._parameters) != ["weight"] or weight is None or weight.dim() != 1
            or weight.requires_grad):
        return None
    product = _rms_norm()

    def forward(x: Any) -> Any:
        return product.apply(x, weight, eps)

    return forward, len(weight), weight.dtype


def _gated_of(module: Any) -> tuple[Forward, int, Any] | None:
    """The same of a feed-forward layer that is gated by SiLU."""
    product, layers = _gated_unit(), module._modules
    if {"gate_proj", "up_proj", "down_proj"} <= layers.keys():
        first = module.gate_proj

        def forward(x: Any) -> Any:
            return module.down_proj(product.apply(module.gate_proj(x), module.up_proj(x)))
    elif {"gate_up_proj", "down_proj"} <= layers.keys():
        first = module.gate_up_proj

        def forward(x: Any) -> Any:
            return module.down_proj(product.apply(*module.gate_up_proj(x).chunk(2, dim=-1)))
    else:
        return None
    first = getattr(first, "base_layer", first)
    size = getattr(first, "in_features", None)
    if size is None:  # experts, in one tensor
        return None
    return forward, size, getattr(first, "compute_dtype", first.weight.dtype)  # of 4-bit weights


@functools.cache
def _rms_norm() -> Any:
    """The autograd function; made on first use, for torch is not imported at start-up."""
    import torch

    class RmsNorm(torch.autograd.Function):  # type: ignore[misc]
        """y = w · x r with r = 1 / sqrt(mean(x²) + ε) (Zhang and Sennrich 2019, equation 4).

        With g the gradient of y, over n features: dx = r · gw - x · r³ (gw · x) / n, gw = g · w.
        """

        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, eps: float) -> Any:
            wide = x.to(torch.float32, copy=True)
            length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
            rate = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
            ctx.save_for_backward(x, rate)
            ctx.weight = weight
            return wide.mul_(rate).to(x.dtype) * weight

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            x, rate = ctx.saved_tensors
            slope = grads[0].to(torch.float32, copy=True).mul_(ctx.weight)
            wide = x.float()
            along = torch.linalg.vecdot(slope, wide).unsqueeze(-1)
            along.mul_(rate ** 3).div_(-x.shape[-1])
            return slope.mul_(rate).addcmul_(wide, along).to(x.dtype), None, None

    return RmsNorm


@functools.cache
def _gated_unit() -> Any:
    import torch

    class GatedUnit(torch.autograd.Function):  # type: ignore[misc]
        """y = silu(gate) · value (Shazeer 2020, equation 6)."""

        @staticmethod
        def forward(ctx: Any, gate: Any, value: Any) -> Any:
            ctx.save_for_backward(gate, value)
            return torch.nn.functional.silu(gate).mul_(value)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            gate, value = ctx.saved_tensors
            to_gate = grads[0] * value
            torch.ops.aten.silu_backward.grad_input(to_gate, gate, grad_input=to_gate)
            return to_gate, torch.nn.functional.silu(gate).mul_(grads[0])

    return GatedUnit
