"""Decoders whose feed-forward layers have two matrices, and the names of their sizes.

Llama, Phi-3 and most of today's have a third one, the gate. A test compares what is counted here
with the models that transformers builds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

_HIDDEN = ("hidden_size", "n_embd", "n_embed")
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
_HEADS = ("num_attention_heads", "n_head", "num_heads")
_INNER = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
_CONTEXT = ("max_position_embeddings", "n_positions")


@dataclass(frozen=True, slots=True)
class Ungated:
    """A kind of decoder.

    Attributes:
        fused: query, key and value are one module.
        tied: embeddings and output layer are one matrix where config.json does not tell.
        positions: rows of learned positions beside those of the context; None: it has none.
    """

    fused: bool = False
    tied: bool = False
    positions: int | None = None


# By `model_type`.
UNGATED: Mapping[str, Ungated] = MappingProxyType({
    "apertus": Ungated(),
    "arcee": Ungated(),
    "biogpt": Ungated(tied=True, positions=2),
    "bloom": Ungated(fused=True, tied=True),
    "codegen": Ungated(fused=True),
    "falcon": Ungated(fused=True, tied=True),
    "gpt2": Ungated(fused=True, tied=True, positions=0),
    "gpt_bigcode": Ungated(fused=True, tied=True, positions=0),
    "gpt_neo": Ungated(tied=True, positions=0),
    "gpt_neox": Ungated(fused=True),
    "gptj": Ungated(),
    "jais2": Ungated(),
    "nanochat": Ungated(),
    "nemotron": Ungated(),
    "opt": Ungated(tied=True, positions=2),
    "persimmon": Ungated(fused=True),
    "phi": Ungated(),
    "starcoder2": Ungated(tied=True),
})

# Written out in Python, so that each of their steps is kept: GELU by its tanh, with the powers.
_WRITTEN_OUT = frozenset({"gelu_new", "gelu_fast"})
_ACTIVATION = ("hidden_act", "activation_function", "hidden_activation")
# What these take where config.json does not tell.
_WRITTEN_OUT_BY_DEFAULT = frozenset({"phi", "gpt2", "gpt_neo", "gptj", "codegen"})


def kept_by(config: Mapping[str, Any]) -> int:
    """Numbers per token and unit of the feed-forward layer that its backward needs."""
    told = next((config[name] for name in _ACTIVATION if config.get(name) is not None), None)
    written_out = (told in _WRITTEN_OUT if told is not None else
                   config.get("model_type") in _WRITTEN_OUT_BY_DEFAULT)
    return 5 if written_out else 2


def plainly_named(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json of one of these with the names that most models have.

    Sizes that it leaves out are what the model then takes: four times the width for the
    feed-forward layer, and as many key heads as heads, or one.
    """
    named = dict(config)
    for names in (_HIDDEN, _LAYERS, _HEADS, _INNER, _CONTEXT):
        found = next((config[name] for name in names if config.get(name) is not None), None)
        if found is not None:
            named[names[0]] = found
    if named.get(_INNER[0]) is None and isinstance(named.get(_HIDDEN[0]), int):
        named[_INNER[0]] = 4 * named[_HIDDEN[0]]
    kind = config.get("model_type")
    if kind == "falcon" and config.get("new_decoder_architecture"):
        named["num_key_value_heads"] = config.get("num_kv_heads")
    elif kind in ("falcon", "gpt_bigcode"):
        named["num_key_value_heads"] = 1 if config.get("multi_query", True) else None
    return named
