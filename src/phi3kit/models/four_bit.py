"""Base models with their linear layers rounded to 4-bit NormalFloat (bitsandbytes)."""

from __future__ import annotations

from typing import Any

from phi3kit.errors import ModelError

# A model whose weights lie in linear layers, but for small ones such as a router's.
_NEARLY_ALL = 0.9


def config(dtype: Any, device: str, *, packed_as: Any) -> Any:
    """What transformers rounds to 4 bits with while it loads.

    Args:
        dtype: of the arithmetic.
        device: "cpu", "cuda", …
        packed_as: dtype that the 4-bit weights are stored in.

    Raises:
        ModelError: bitsandbytes is not here, or not for this device.
    """
    import importlib.util

    from transformers import BitsAndBytesConfig

    if device == "mps" or importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError("4-bit NF4 needs bitsandbytes, which is not here",
                         mend="Leave out --qlora (quantization: none)")
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype, bnb_4bit_quant_storage=packed_as)


def rounding(model: Any, where: str) -> list[str]:
    """What has to be known of a model that is rounded to 4 bits, in lines; on "meta": would be.

    Raises:
        ModelError: nothing of it is rounded.
    """
    share, experts = _share_rounded(model)
    if not share:
        raise ModelError("none of its layers is a linear one that can be rounded to 4 bits",
                         where=where, mend="Leave out --qlora (quantization: none)")
    if share >= _NEARLY_ALL:
        return []
    rest = f"{1 - share:.0%} of the decoder's weights"
    return [(f"the experts, {rest}, are" if experts else f"{rest} are in no linear layer:"
             " they are") + " not rounded to 4 bits and get no adapter"]


def _share_rounded(model: Any) -> tuple[float, bool]:
    """How much of a decoder's weights is rounded, and whether the rest is mostly experts.

    Embeddings and output layer are not the decoder's, and vectors are no matter. Experts lie in
    one tensor of three dimensions.
    """
    import torch

    output = model.get_output_embeddings()
    apart = {id(layer.weight) for layer in model.modules()
             if isinstance(layer, torch.nn.Embedding) or layer is output}
    rounded = {id(layer.weight) for layer in model.modules() if _is_rounded(layer)} - apart
    inside, outside, experts = 0, 0, 0
    for weight in model.parameters():
        if id(weight) in rounded:
            inside += _values(weight)
        elif weight.dim() > 1 and id(weight) not in apart:
            outside += weight.numel()
            experts += weight.numel() if weight.dim() > 2 else 0
    return inside / max(inside + outside, 1), 2 * experts > outside


def _is_rounded(layer: Any) -> bool:
    import torch
    from transformers.pytorch_utils import Conv1D

    weight = getattr(layer, "weight", None)
    if getattr(weight, "is_meta", False):  # what transformers would round
        return type(layer) is torch.nn.Linear or isinstance(layer, Conv1D)
    return _is_packed(weight)


def _is_packed(weight: Any) -> bool:
    return type(weight).__name__ == "Params4bit"


def _values(weight: Any) -> int:
    """How many there are; packed ones lie two in a byte."""
    return int(weight.numel() * (2 * weight.element_size() if _is_packed(weight) else 1))


def hold_dequantized(model: Any, dtype: Any) -> None:
    """Replace every 4-bit layer by an ordinary one that holds the same rounded weights."""
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    for path, layer in list(model.named_modules()):
        if not isinstance(layer, Linear4bit):
            continue
        plain = torch.nn.Linear(layer.in_features, layer.out_features,
                                bias=layer.bias is not None, device="meta")
        weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        plain.weight = torch.nn.Parameter(weight.to(dtype), requires_grad=False)
        plain.bias = layer.bias
        parent, _, child = path.rpartition(".")
        setattr(model.get_submodule(parent), child, plain)
    # Without these marks, adapters and `.to()` treat the model as what it now is.
    model.hf_quantizer = None
    model.is_quantized = False
    model.is_loaded_in_4bit = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def let_go_of_files(model: Any) -> None:
    """Copy the weights that were not rounded out of the files, which are mapped into memory.

    As long as one weight lies in such a file, all of it stays resident, the weights too that
    were rounded: 0.2 GB of a model of 135 million.
    """
    from bitsandbytes.nn import Params4bit

    for weight in model.parameters():
        if not isinstance(weight, Params4bit):
            weight.data = weight.data.clone()
