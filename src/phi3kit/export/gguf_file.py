"""One GGUF file with weights, tokenizer, chat template and stop tokens, for llama.cpp and kin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from phi3kit.errors import ModelError
from phi3kit.export.gguf_tokens import (
    Vocabulary,
    refuse_lost_stripping,
    swallows_like_phi3,
    vocabulary,
)
from phi3kit.models.chat import adds_bos, stop_token_ids, turn_end
from phi3kit.progress import bar

Weights = Literal["q8_0", "f16"]
WEIGHTS: tuple[Weights, ...] = ("q8_0", "f16")

_ARCHITECTURES = ("llama", "phi3")
# What the graphs of llama.cpp for these architectures compute; anything else would be ignored.
_ROPES = {"llama": ("default",), "phi3": ("default", "longrope")}


def refuse_unsupported(config: Any, tokenizer: Any, *, where: str) -> Vocabulary:
    """Tell, before anything is computed, whether a model can be written as GGUF.

    Returns:
        Its vocabulary.

    Raises:
        ModelError: another architecture, rotary scaling, activation or tokenizer.
    """
    kind = config.model_type
    if kind not in _ARCHITECTURES:
        raise ModelError(f"GGUF export knows the architectures {' and '.join(_ARCHITECTURES)}, "
                         f"and this model is {kind}", where=where,
                         mend="Export --to merged or --to vllm")
    rope = config.rope_parameters["rope_type"]
    if rope not in _ROPES[kind]:
        raise ModelError(f"GGUF export does not know the rotary scaling '{rope}' of {kind}",
                         where=where, mend="Export --to merged or --to vllm")
    if config.hidden_act not in ("silu", "swish"):
        raise ModelError(f"GGUF export does not know the activation '{config.hidden_act}'",
                         where=where, mend="Export --to merged or --to vllm")
    words = vocabulary(tokenizer, config.vocab_size, where=where)
    refuse_lost_stripping(words, tokenizer, where=where)
    return words


def write_gguf(folder: Path, file: Path, *, config: Any, tokenizer: Any, model: Any,
               weights: Weights, name: str) -> None:
    """Write the merged model in `folder` as one GGUF file.

    Matrices become 8-bit blocks of 32 with a scale each ("q8_0"; rows that are no multiple of
    32 stay f16) or "f16"; vectors stay f32, as llama.cpp wants them.

    Args:
        model: anything with the model's `config` and `generation_config`.
        name: shown by the software that loads it.

    Raises:
        ModelError: as `refuse_unsupported`; a weight beyond float16's range; a tensor that the
            architecture does not have in GGUF.
    """
    import gguf

    words = refuse_unsupported(config, tokenizer, where=name)
    writer = gguf.GGUFWriter(file, config.model_type, use_temp_file=False)
    _add_settings(writer, config, _told_name(name, words), weights)
    _add_tokenizer(writer, words, tokenizer, stop_token_ids(tokenizer, model))
    tensors = list(_tensor_files(folder))
    with bar(f"writing GGUF ({weights})", len(tensors)) as advance, ExitStack() as stack:
        opened: dict[Path, Any] = {}
        convert = _converter(config, weights)
        for path, key in tensors:
            if path not in opened:
                from safetensors import safe_open

                opened[path] = stack.enter_context(safe_open(path, framework="pt"))
            for target, data, kind in convert(key, opened[path].get_tensor(key)):
                writer.add_tensor(target, data, raw_dtype=kind)
            advance(1)
    for target, data in _rope_factors(config):
        writer.add_tensor(target, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _told_name(name: str, words: Vocabulary) -> str:
    """`name` with "phi-3" in it where, and only where, llama.cpp should treat the file so.

    By this word alone it tells that control tokens swallow the white space after them, as
    those of Phi-3 do with the line break after "<|user|>"; and it then fails to load a file
    that has not all of the tokens that it excepts from that.
    """
    if swallows_like_phi3(words):
        return name if "phi-3" in name.lower() else f"{name} (phi-3)"
    return re.sub(r"phi-?(?=3)", "phi ", name, flags=re.IGNORECASE)


def _add_settings(writer: Any, config: Any, name: str, weights: Weights) -> None:
    import gguf

    rope = config.rope_parameters
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_name(name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(int(width * rope.get("partial_rotary_factor", 1.0)))
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if config.model_type == "phi3":
        writer.add_rope_scaling_orig_ctx_len(_original_context(config))
        writer.add_sliding_window(config.sliding_window or 0)
    if rope["rope_type"] == "longrope":
        writer.add_rope_scaling_attn_factors(_attention_factor(config))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    kind = gguf.LlamaFileType.MOSTLY_Q8_0 if weights == "q8_0" else gguf.LlamaFileType.MOSTLY_F16
    writer.add_file_type(kind)


def _original_context(config: Any) -> int:
    rope = config.rope_parameters
    return int(rope.get("original_max_position_embeddings")
               or config.original_max_position_embeddings)


def _attention_factor(config: Any) -> float:
    """What LongRoPE multiplies queries and keys with (Ding et al. 2024): sqrt(1 + ln s / ln L).

    L is the context of pretraining, s by how much it was stretched.
    """
    import math

    given = config.rope_parameters.get("attention_factor")
    original = _original_context(config)
    stretch = config.max_position_embeddings / original
    if given is not None:
        return float(given)
    return math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0


def _rope_factors(config: Any) -> Iterator[tuple[str, Any]]:
    import numpy as np

    rope = config.rope_parameters
    if rope["rope_type"] == "longrope":
        for kind in ("long", "short"):
            yield (f"rope_factors_{kind}.weight",
                   np.array(rope[f"{kind}_factor"], dtype=np.float32))


def _add_tokenizer(writer: Any, words: Vocabulary, tokenizer: Any, stops: list[int]) -> None:
    writer.add_tokenizer_model(words.model)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    if words.scores:
        writer.add_token_scores(words.scores)
    writer.add_token_types(words.types)
    if words.merges:
        writer.add_token_merges(words.merges)
    for add, index in ((writer.add_bos_token_id, tokenizer.bos_token_id),
                       (writer.add_unk_token_id, tokenizer.unk_token_id),
                       (writer.add_pad_token_id, tokenizer.pad_token_id)):
        if index is not None:
            add(index)
    # GGUF has a place each for the end of text, of a turn and of a message; all of them stop.
    ends = [tokenizer.eos_token_id, turn_end(tokenizer), *stops]
    ordered = list(dict.fromkeys(index for index in ends if index is not None))
    for add, index in zip((writer.add_eos_token_id, writer.add_eot_token_id,
                           writer.add_eom_token_id), ordered, strict=False):
        add(index)
    writer.add_add_bos_token(adds_bos(tokenizer))
    writer.add_add_eos_token(False)
    if words.model == "llama":
        writer.add_add_space_prefix(True)
    writer.add_chat_template(tokenizer.chat_template)


def _tensor_files(folder: Path) -> Iterator[tuple[Path, str]]:
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in sorted(file.keys()):
                yield path, key


def _converter(config: Any, weights: Weights) -> Callable[[str, Any], Iterator[Any]]:
    """A function from a tensor to GGUF's (name, values, type); type None is the values' own."""
    import gguf
    import numpy as np

    arch = getattr(gguf.MODEL_ARCH, config.model_type.upper())
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    q8 = gguf.GGMLQuantizationType.Q8_0

    def convert(key: str, tensor: Any) -> Iterator[Any]:
        if key.endswith("rotary_emb.inv_freq"):
            return  # computed from the settings
        target = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise ModelError(f"GGUF has no place for '{key}' in {config.model_type}")
        values = tensor.float().numpy()
        if config.model_type == "llama" and ".self_attn." in key:
            values = _interleaved(key, values, config)
        if values.ndim == 1:
            yield target, values.astype(np.float32), None
        elif weights == "q8_0" and values.shape[-1] % 32 == 0:
            yield target, gguf.quants.quantize(np.ascontiguousarray(values), q8), q8
        else:
            if np.abs(values).max() > np.finfo(np.float16).max:
                raise ModelError(f"'{key}' does not fit into float16",
                                 mend="Export --to gguf --weights q8_0")
            yield target, values.astype(np.float16), None

    return convert


def _interleaved(key: str, values: Any, config: Any) -> Any:
    """Query and key rows in llama.cpp's order for "llama": rotated pairs side by side.

    transformers pairs row i of a head with row i + half; llama.cpp's graph, rows 2i and 2i+1.
    """
    if ".q_proj." in key:
        heads = config.num_attention_heads
    elif ".k_proj." in key:
        heads = config.num_key_value_heads
    else:
        return values
    half = values.shape[0] // heads // 2
    return values.reshape(heads, 2, half, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
