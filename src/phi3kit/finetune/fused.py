"""LoRA's layers in fewer passes over memory, with the same arithmetic.

peft's own forward casts the layer's input to float32, multiplies it there by A and B, scales,
adds and casts back: five passes over activations for a product of rank 16, which on a CPU
cost as much as the frozen layer itself. Here both products run in the base's type, the
second accumulates into the layer's output, and the backward is written out, so that nothing
but the input and its rank-sized image is kept. The adapter's weights and their gradients
stay float32.
"""

from __future__ import annotations

from typing import Any

from phi3kit.models.linear import is_linear

# Below this, 4-bit weights on a CPU are held dequantised, see `_weight_of`.
_HELD_BYTES = 2 << 30


def fuse(model: Any) -> int:
    """Let every plain LoRA layer of `model` compute in the fused way while it trains.

    Left alone: layers with dropout or a variant such as DoRA, and layers with more than one
    adapter.

    Returns:
        The number of layers that were changed.
    """
    import torch

    layers = [layer for layer in model.modules() if _is_plain(layer)]
    held = 2 * sum(layer.in_features * layer.out_features for layer in layers)
    hold = (held <= _HELD_BYTES
            and all(layer.weight.device.type == "cpu" and not is_shared_out(layer.weight)
                    for layer in layers))
    product = _product()
    for layer in layers:
        weight = _weight_of(layer.base_layer, hold=hold)

        def forward(x: torch.Tensor, layer: Any = layer, weight: Any = weight) -> torch.Tensor:
            name = layer.active_adapters[0]
            y: torch.Tensor = product.apply(
                x, weight, layer.lora_A[name].weight, layer.lora_B[name].weight,
                layer.scaling[name])
            bias = layer.base_layer.bias
            return y if bias is None else y + bias

        layer.forward = forward
    return len(layers)


def unfuse(model: Any) -> None:
    """Give every layer its own forward back."""
    for layer in model.modules():
        if "lora_A" in getattr(layer, "_modules", {}):
            layer.__dict__.pop("forward", None)


def is_shared_out(weight: Any) -> bool:
    """Whether this process holds only its share of a weight, see `sharding`."""
    from torch.distributed.tensor import DTensor

    return isinstance(weight, DTensor)


def _is_plain(layer: Any) -> bool:
    import torch

    if not hasattr(layer, "lora_A") or not is_linear(getattr(layer, "base_layer", None)):
        return False
    names = list(layer.lora_A)
    return (len(names) == 1 and not layer.merged and names[0] not in layer.lora_variant
            and isinstance(layer.lora_dropout[names[0]], torch.nn.Identity)
            and layer.lora_B[names[0]].bias is None)


def _weight_of(layer: Any, *, hold: bool) -> Any:
    """A function that gives the frozen weight, [out, in], in the type of the arithmetic.

    4-bit weights are dequantised whenever they are used, forward and backward, which is what
    bitsandbytes does too. For a small model on a CPU the dequantised values are held instead
    (2 bytes per weight, where 4-bit ones take half a byte): the values are the same ones, and
    what QLoRA saves there is not worth the time.
    """
    # The layer keeps it too, for a weight that is shared out is a plain tensor when gathered.
    state = getattr(layer.weight, "quant_state", None) or getattr(layer, "quant_state", None)
    if state is None:
        return lambda: layer.weight
    from bitsandbytes.functional import dequantize_4bit

    dtype = layer.compute_dtype
    if hold:
        held = dequantize_4bit(layer.weight.data, state).to(dtype)
        return lambda: held
    return lambda: dequantize_4bit(
        layer.weight.data, getattr(layer.weight, "quant_state", None) or state).to(dtype)


def _product() -> Any:
    """The autograd function; made on first use, for torch is not imported at start-up."""
    import torch

    class LoraProduct(torch.autograd.Function):  # type: ignore[misc]
        """y = W x + s B A x, with W frozen (Hu et al. 2021, equation 3).

        With g the gradient of y: dx = Wᵀg + s Aᵀ(Bᵀg), dA = s (Bᵀg) xᵀ, dB = s g (A x)ᵀ.
        """

        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, a: Any, b: Any, scale: float) -> Any:
            w = weight()
            rows = x.reshape(-1, x.shape[-1]).to(w.dtype)
            low_a, low_b = a.to(w.dtype), b.to(w.dtype)
            image = rows @ low_a.t()
            y = rows @ w.t()
            y.addmm_(image, low_b.t(), alpha=scale)
            ctx.save_for_backward(rows, low_a, low_b, image)
            ctx.weight, ctx.scale = weight, scale
            ctx.shape, ctx.dtype = x.shape, x.dtype
            # Falcon adds to it in place, which autograd refuses for a view.
            return torch.ops.aten._unsafe_view(y, (*x.shape[:-1], y.shape[-1])).to(x.dtype)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            rows, low_a, low_b, image = ctx.saved_tensors
            g = grads[0].reshape(-1, grads[0].shape[-1]).to(rows.dtype)
            back = g @ low_b
            dx = None
            if ctx.needs_input_grad[0]:
                dx = g @ ctx.weight()
                dx.addmm_(back, low_a, alpha=ctx.scale)
                dx = dx.view(ctx.shape).to(ctx.dtype)
            da = (back.t() @ rows).float() * ctx.scale
            db = (g.t() @ image).float() * ctx.scale
            return dx, None, da, db, None

    return LoraProduct
