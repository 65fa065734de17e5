"""Base models: their weights in memory; see `bases` for names.

The only file that loads them. GGUF is read in two others: `gguf` checks what was exported,
`packaged` makes safetensors of the model that comes with the demo.

Safetensors only and no code from the hub: a checkpoint can be wrong here, never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from phi3kit.errors import ModelError
from phi3kit.models import four_bit
from phi3kit.models.bases import (
    attends_by,
    commit,
    explained,
    fingerprint_folder,
    resolve_base,
)
from phi3kit.models.catalog import ModelSpec, find
from phi3kit.models.chat import turn_end
from phi3kit.models.hardware import pick_device, pick_dtype
from phi3kit.models.out_of_memory import out_of_memory
from phi3kit.models.prequantised import refuse_quantised
from phi3kit.models.quiet import hush
from phi3kit.models.reading import reading_of
from phi3kit.settings import ModelSettings

Quantization = Literal["none", "nf4"]

# What configurations call the longest sequence: most; BLOOM; MPT; GPT-2's time.
_CONTEXT = ("max_position_embeddings", "seq_length", "max_seq_len", "n_positions")


@dataclass
class Loaded:
    """A model in memory, with what identifies it.

    Attributes:
        model: the transformers model; a PeftModel once an adapter is attached.
        tokenizer: its tokenizer, padding on the left.
        name: the name that it was asked for by.
        fingerprint: identity of the weights; see `fingerprint`.
        quantization: "nf4" when the weights have been rounded to NF4 values, even where
            they are held in a wider type for speed.
        dtype: "bfloat16", "float16" or "float32", the type of the arithmetic.
        device: "cpu", "cuda" or "mps".
        spec: the catalog's entry; None for models that it does not know.
        context: longest sequence in tokens, prompt and answer together.
        folded: the adapter that has been added into the weights; None without one, or when
            it is kept apart from them (see `adapters.attach`).
        start: the weights that a PiSSA adapter began with, which the base is now without.
        reads: identity of template, tokenizer and configuration; see `reading`.
    """

    model: Any
    tokenizer: Any
    name: str
    fingerprint: str
    quantization: Quantization
    dtype: str
    device: str
    spec: ModelSpec | None
    context: int
    folded: Any = None
    start: Any = None
    reads: Mapping[str, str] = field(default_factory=dict)


def refuse_endpoint(settings: ModelSettings) -> None:
    """Tell that a model whose weights are needed is on a server.

    Raises:
        ModelError: it is.
    """
    if settings.endpoint is not None:
        raise ModelError("the model is on a server, and this needs its weights here",
                         where="model.endpoint",
                         mend="Leave out model.endpoint and name a local model with --model")


def load_base(settings: ModelSettings, *, quantization: Quantization,
              training: bool = False, sharded: bool = False) -> Loaded:
    """Load a base model and its tokenizer, ready to answer or to take an adapter.

    With "nf4" the linear layers (not the output layer) are rounded to 4-bit NormalFloat with
    double quantisation (Dettmers et al. 2023, QLoRA). On a CPU that only answers, the rounded
    values are then held in `dtype`: the very weights that QLoRA trained on, at the speed of
    an unquantised model.

    Args:
        training: whether it will be trained on, and not answer.
        sharded: whether its weights will be shared out over processes. Only floating-point
            ones can be, so 4-bit ones are packed into `dtype`.

    Raises:
        ModelError: unknown name, hub not reachable, pickled, damaged or incomplete weights,
            weights that others quantised, an architecture that transformers does not have, a
            device that is not there, with "nf4" a model without a layer to round;
            OutOfMemoryError, which is one too, where it does not fit.
    """
    refuse_endpoint(settings)
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    hush()
    device = pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    base, revision = resolve_base(settings.name, settings.revision)
    if isinstance(base, Path):
        identity = fingerprint_folder(base)
    else:
        revision = commit(base, revision)
        identity = f"hub:{base}@{revision}"
    common: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    extra: dict[str, Any] = {}
    if quantization == "nf4":
        extra["quantization_config"] = four_bit.config(
            getattr(torch, dtype), device, packed_as=getattr(torch, dtype if sharded else "uint8"))

    def load() -> tuple[Any, Any, dict[str, Any]]:
        config = AutoConfig.from_pretrained(base, **common)
        unpacked = refuse_quantised(config, settings.name, rounding=quantization == "nf4")
        tokenizer = AutoTokenizer.from_pretrained(base, **common)
        model, info = AutoModelForCausalLM.from_pretrained(
            base, config=config, dtype=getattr(torch, dtype), use_safetensors=True,
            attn_implementation=attends_by(config), device_map={"": device},
            output_loading_info=True, **common, **extra, **unpacked)
        return model, tokenizer, info

    with out_of_memory(f"loading {settings.name} in {_in_words(quantization, dtype)}",
                       lambda: _smaller(settings, quantization, dtype, device,
                                        training=training), device=device):
        model, tokenizer, info = explained(str(base), load)
        _refuse_incomplete(str(base), info)
        if quantization == "nf4":
            four_bit.rounding(model, settings.name)  # which refuses one that has nothing to round
        if quantization == "nf4" and device == "cpu":
            if not training:
                four_bit.hold_dequantized(model, getattr(torch, dtype))
            four_bit.let_go_of_files(model)
    tokenizer.padding_side = "left"
    settle_padding(tokenizer)
    model.eval()
    return Loaded(
        model=model, tokenizer=tokenizer, name=settings.name, fingerprint=identity,
        quantization=quantization, dtype=dtype, device=device, spec=find(settings.name),
        context=context_of(model.config, settings.name),
        reads=reading_of(base) if isinstance(base, Path) else {})


def context_of(config: Any, name: str) -> int:
    """The longest sequence in tokens, prompt and answer together.

    Raises:
        ModelError: it is not told. Models that take pictures too tell it of their text apart:
            what they need beside the tokens is not given here.
    """
    for name_here in _CONTEXT:
        holds = getattr(config, name_here, None)
        if isinstance(holds, int):
            return holds
    if config.get_text_config() is not config:
        raise ModelError(f"its configuration ({config.model_type}) has no max_position_embeddings, "
                         "as one of a language model alone has", where=name,
                         mend="Use a model for text alone")
    raise ModelError(f"its configuration ({config.model_type}) does not tell how many tokens it "
                     "holds", where=name,
                     mend=f'Write "{_CONTEXT[0]}": and the number into its config.json')


def settle_padding(tokenizer: Any) -> None:
    """Pad with a token that ends no answer: who masks padding by it would mask the end too.

    Nothing here masks by the token, but other software does, and reads it from the tokenizer
    that is saved with a model.
    """
    try:
        end = turn_end(tokenizer)
    except ModelError:  # a template that is not for chats: told where one is to be put
        end = None
    trained = tokenizer.eos_token_id if end is None else end
    if tokenizer.pad_token_id not in (None, trained):
        return
    others = [tokenizer.unk_token_id, tokenizer.eos_token_id, *sorted(tokenizer.all_special_ids)]
    chosen = next((i for i in others if i is not None and i != trained), trained)
    if chosen is not None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(chosen)


def _in_words(quantization: Quantization, dtype: str) -> str:
    return "4-bit NF4" if quantization == "nf4" else dtype


def _smaller(settings: ModelSettings, quantization: Quantization, dtype: str, device: str, *,
             training: bool) -> str:
    """What to do about a base that does not fit."""
    ways = "take a smaller model; `phi3kit plan` tells what fits"
    if device == "cuda" and quantization == "none":
        flag = "--qlora without --full" if training else "model.quantization: nf4"
        return f"Use {flag}, for about a quarter of it, or {ways}"
    # Where float32 is asked for, as --full does, it is meant.
    if device == "cpu" and dtype == "float32" and settings.dtype == "auto":
        return f"Set model.dtype to bfloat16, for half of it, or {ways}"
    return f"T{ways[1:]}"


def _refuse_incomplete(where: str, info: dict[str, Any]) -> None:
    # transformers fills missing tensors with random numbers and goes on.
    missing = sorted(info.get("missing_keys") or ())
    if missing:
        raise ModelError(f"{len(missing)} weights are missing, '{missing[0]}' first", where=where,
                         mend="Copy or download the model again")
