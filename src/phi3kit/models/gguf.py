"""A GGUF file back in memory, through transformers' own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phi3kit.errors import ModelError, first_line
from phi3kit.models.bases import attends_by
from phi3kit.models.loading import Loaded
from phi3kit.models.out_of_memory import is_out_of_memory
from phi3kit.models.quiet import hush, silence

# transformers reads none of them from GGUF.
_FROM_LIKE = ("rope_parameters", "original_max_position_embeddings", "sliding_window",
              "pad_token_id")


def load_gguf(file: Path, *, like: Any, device: str, name: str) -> Loaded:
    """Load weights, sizes and tokenizer from a GGUF file, in float32.

    Args:
        like: the configuration of the model that was written; rotary settings, sliding window
            and padding id are taken from it.
        device: "cpu", "cuda" or "mps".
        name: what to call it.

    Raises:
        ModelError: transformers cannot read it, or weights are missing.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    hush()
    place: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    try:
        with silence():
            config = AutoConfig.from_pretrained(file.parent, **place)
            for key in _FROM_LIKE:
                if hasattr(like, key):
                    setattr(config, key, getattr(like, key))
            tokenizer = AutoTokenizer.from_pretrained(file.parent, **place)
            model, info = AutoModelForCausalLM.from_pretrained(
                file.parent, config=config, dtype=torch.float32,
                attn_implementation=attends_by(config), device_map={"": device},
                output_loading_info=True, **place)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError,
            ImportError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"the GGUF file cannot be read again ({first_line(error)})",
                         where=str(file)) from error
    missing = sorted(info.get("missing_keys") or ())
    if missing:
        raise ModelError(f"{len(missing)} weights are missing in the GGUF file, '{missing[0]}' "
                         "first", where=str(file))
    tokenizer.padding_side = "left"
    model.eval()
    return Loaded(model=model, tokenizer=tokenizer, name=name, fingerprint="", dtype="float32",
                  quantization="none", device=device, spec=None,
                  context=int(model.config.max_position_embeddings))
