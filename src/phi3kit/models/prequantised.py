"""Bases whose weights were quantised by others."""

from __future__ import annotations

from typing import Any

from phi3kit.errors import ModelError

# transformers gives its weights back in 16 bits while it loads; gpt-oss is published in it alone.
_UNPACKED = "mxfp4"


def refuse_quantised(config: Any, where: str, *, rounding: bool) -> dict[str, Any]:
    """What loading a base of this configuration needs beside the rest.

    Adapters on such weights would be bound to a rounding that neither merging nor exporting
    knows.

    Args:
        config: of transformers; its `quantization_config` tells.
        where: the base, as the error names it.
        rounding: whether the weights are to be rounded to 4 bits.

    Raises:
        ModelError: the weights are quantised already.
    """
    found = getattr(config, "quantization_config", None)
    if found is None:
        return {}
    told = found if isinstance(found, dict) else found.to_dict()
    how = str(getattr(told.get("quant_method"), "value", told.get("quant_method"))
              or "bitsandbytes")
    if how != _UNPACKED:
        raise ModelError(f"the weights are already quantised ({how})", where=where,
                         mend="Use the 16-bit model, with --qlora")
    if rounding:
        raise ModelError("the weights are already quantised (mxfp4) and are not rounded again",
                         where=where, mend="Leave out --qlora (quantization: none), which takes "
                                           "them in 16 bits, or use a 16-bit copy of the model")
    from transformers import Mxfp4Config

    return {"quantization_config": Mxfp4Config(dequantize=True)}
