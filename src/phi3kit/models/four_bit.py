"""Base models with their linear layers rounded to 4-bit NormalFloat (bitsandbytes)."""

from __future__ import annotations

from typing import Any

from phi3kit.errors import ModelError


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
