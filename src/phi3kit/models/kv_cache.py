"""Which models' keys and values can be laid out row by row, and a cache around them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from phi3kit.models.causal import causal_of

# Of one layer: keys and values, [rows, heads, tokens, size] each.
Pair = tuple[Any, Any]

# What a decoder must take beside the tokens.
_TOLD = {"attention_mask", "position_ids", "past_key_values", "use_cache"}


def longest(model: Any) -> int:
    """Longest prompt and answer, in tokens, that can be laid out here; 0 where none can.

    Every layer must attend to all earlier tokens and take positions as it is told, so that what
    prompts have in common can be computed once and rows may begin anywhere. Windows are no
    matter to what is shorter. Where the rotation of positions depends on the length of what is
    read at once (longrope, dynamic), it does beyond the length that the model was first
    trained on.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    causal = causal_of(model)
    config = causal.config
    if causal.base_model is causal or not {
            *inspect.signature(causal.base_model.forward).parameters} >= _TOLD:
        return 0
    limits = [int(config.max_position_embeddings)]
    for layer in DynamicCache(config=config).layers:
        if type(layer) is DynamicSlidingWindowLayer:
            limits.append(layer.sliding_window)
        elif type(layer) is not DynamicLayer:
            return 0
    rotation = getattr(config, "rope_parameters", None) or {}
    for kind in (rotation, *rotation.values()):
        if isinstance(kind, dict) and kind.get("rope_type") in ("longrope", "dynamic"):
            limits.append(int(kind.get("original_max_position_embeddings", limits[0])))
    return min(limits)


def held(layers: Sequence[Pair]) -> Any:
    """A cache for transformers around the keys and values of each layer."""
    from transformers.cache_utils import Cache, DynamicLayer

    found = []
    for keys, values in layers:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values  # update() would copy them
        found.append(layer)
    return Cache(layers=found)
