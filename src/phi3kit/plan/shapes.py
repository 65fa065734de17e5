"""The shape of a model: from the catalog, a folder's or the hub's config.json, or a bare size."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phi3kit.errors import ModelError
from phi3kit.files import expanded
from phi3kit.models.bases import hub_config, is_hub_id
from phi3kit.models.catalog import CATALOG, find
from phi3kit.plan.gated import GATED, Gated
from phi3kit.plan.ungated import UNGATED, kept_by, plainly_named


@dataclass(frozen=True, slots=True)
class Shape:
    """What memory depends on.

    Attributes:
        name: as the user gave it.
        parameters: all weights, tied embeddings counted once.
        linear: weights of the decoder layers' linear modules: what is quantised and adapted.
        linear_widths: input plus output width of each adapted linear module of one layer; an
            adapter of rank r has r times their sum per layer.
        key_width: width of the keys, and of the values, of one layer: key heads times their
            width; less than `hidden` with grouped-query attention.
        fused: query, key and value are one module, and so are gate and up (the Phi-3 family), where
            there is a gate.
        gated: the feed-forward layer has a third matrix, the gate.
        plain: see `Gated`.
        kept: numbers that the feed-forward layer keeps for its backward, per token and unit of
            `intermediate`: gate, its activation, up and their product; without a gate two, or what
            its activation function makes of them.
        context_known: `context` is the model's; a bare size tells none.
        assumption: how the shape came about, when it was not simply read.
    """

    name: str
    parameters: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocab: int
    linear: int
    linear_widths: tuple[int, ...]
    context: int
    key_width: int
    fused: bool
    gated: bool = True
    plain: bool = True
    kept: int = 4
    context_known: bool = True
    assumption: str = ""


# Published shapes that bare sizes are drawn between: parameters, hidden, layers, heads,
# key/value heads, intermediate, vocabulary. Phi-3-mini, Mistral-7B, Phi-3-medium, Qwen2.5-32B,
# Llama-3-70B, Llama-3.1-405B, and Llama-3.2-1B at the small end.
_KNOWN = (
    (1.24e9, 2048, 16, 32, 8, 8192, 128256),
    (3.82e9, 3072, 32, 32, 32, 8192, 32064),
    (7.24e9, 4096, 32, 32, 8, 14336, 32768),
    (13.96e9, 5120, 40, 40, 10, 17920, 32064),
    (32.8e9, 5120, 64, 40, 8, 27648, 152064),
    (70.6e9, 8192, 80, 64, 8, 28672, 128256),
    (405.9e9, 16384, 126, 128, 8, 53248, 128256),
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bm])", re.IGNORECASE)
_LONGEST_PLANNED = 4096
MOST_PARAMETERS = 10**13  # twenty times the largest that is published
_MOST_WIDE = 10**8  # and no width or count in a config.json is near this
# Where a config.json says that each token passes through some of the weights only.
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_MEND = "Give a folder with its config.json, or its size, such as 7B"
# What the module of query, key and value is called where it is one.
_FUSED = frozenset({"qkv_proj", "query_key_value"})


def shape_of(name: str, revision: str | None = None) -> Shape:
    """The shape of a catalog name, local folder, size ("7B") or hub id.

    Of a hub model only its config.json is read: the cached one, or else it is fetched.

    Args:
        revision: of a hub model; None: the newest that is cached, else the newest.

    Raises:
        ModelError: none of these; a config.json that does not tell its shape; the hub cannot be
            reached.
    """
    spec = find(name)
    if spec is not None:
        return _shape(name, hidden=spec.hidden, layers=spec.layers, heads=spec.heads,
                      kv_heads=spec.kv_heads, intermediate=spec.intermediate, vocab=spec.vocab,
                      fused=not _FUSED.isdisjoint(spec.target_modules),
                      parameters=spec.parameters, context=spec.context)
    folder = expanded(name)
    if folder.name == "config.json":
        folder = folder.parent
    if _is_file(folder / "config.json"):
        return _from_config(name, folder / "config.json")
    size = _SIZE.fullmatch(name.strip())
    if size:
        parameters = float(size[1]) * (1e9 if size[2].lower() == "b" else 1e6)
        if not 1e6 <= parameters <= MOST_PARAMETERS:
            raise ModelError(f"no model has the size '{name}'",
                             mend=f"Give one from 1M to {MOST_PARAMETERS // 10**9}B")
        return _from_size(name, parameters)
    if is_hub_id(name):
        try:
            config = hub_config(name, revision, cached_first=True)
        except ModelError as error:
            raise ModelError(error.what, where=error.where, mend=_MEND) from error
        return _from_config(name, config)
    raise ModelError(f"no model '{name}' to plan for",
                     mend="Give a size such as 7B, a folder with config.json, a hub id "
                          f"(owner/name), or one of: {', '.join(CATALOG)}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no name that a file can have
        return False


def _shape(name: str, *, hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int,
           vocab: int, fused: bool, parameters: int, context: int, head_dim: int | None = None,
           gated: bool = True, plain: bool = True, kept: int = 4,
           assumption: str = "") -> Shape:
    width = head_dim or hidden // heads
    query, key = heads * width, kv_heads * width
    into = 2 if gated else 1  # gate and up, or up alone
    modules: tuple[tuple[int, int], ...]
    if fused:
        modules = ((hidden, query + 2 * key), (query, hidden), (hidden, into * intermediate),
                   (intermediate, hidden))
    else:
        modules = ((hidden, query), (hidden, key), (hidden, key), (query, hidden),
                   *[(hidden, intermediate)] * into, (intermediate, hidden))
    return Shape(name, parameters, hidden, layers, heads, intermediate, vocab,
                 linear=layers * sum(i * o for i, o in modules),
                 linear_widths=tuple(i + o for i, o in modules), context=context,
                 key_width=key, fused=fused, gated=gated, plain=plain, kept=kept,
                 assumption=assumption)


def _from_config(name: str, path: Path) -> Shape:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot be read ({error})", where=str(path), mend=_MEND) from error
    experts = next((key for key in _EXPERTS if (config.get(key) or 1) != 1), None)
    if experts:
        raise ModelError(f"a mixture of experts ({experts}), whose weights are not counted",
                         where=str(path), mend="Give its size instead, such as 47B")
    if config.get("kv_lora_rank"):
        raise ModelError("latent attention (kv_lora_rank), whose weights are not counted",
                         where=str(path), mend="Give its size instead, such as 16B")
    kind = config.get("model_type")
    ungated = UNGATED.get(str(kind))
    # One that does not say what it is, is taken for what most are.
    gated = GATED.get(str(kind)) or Gated()
    if kind is not None and ungated is None and str(kind) not in GATED:
        raise ModelError(f"a model of the kind {str(kind)[:40]!r}, whose weights are not counted",
                         where=str(path), mend="Give its size instead, such as 7B")
    if ungated is not None:
        config = plainly_named(config)
    hidden, heads = _number(config, "hidden_size", path), _number(
        config, "num_attention_heads", path)
    layers, vocab = _number(config, "num_hidden_layers", path), _number(
        config, "vocab_size", path)
    intermediate = _number(config, "intermediate_size", path)
    bare = _shape(name, hidden=hidden, layers=layers, heads=heads,
                  kv_heads=_number(config, "num_key_value_heads", path, heads), vocab=vocab,
                  intermediate=intermediate, gated=ungated is None,
                  plain=gated.plain and config.get("hidden_act", "silu") in ("silu", "swish"),
                  kept=4 if ungated is None else kept_by(config),
                  fused=ungated.fused if ungated else gated.fused,
                  head_dim=_number(config, "head_dim", path,
                                   gated.head_dim or max(1, hidden // heads)),
                  parameters=0, context=_number(
                      config, "max_position_embeddings", path, _LONGEST_PLANNED))
    tied = config.get("tie_word_embeddings",
                      ungated.tied if ungated else gated.tied)
    embeddings = vocab * hidden * (1 if tied else 2)
    if ungated is not None and ungated.positions is not None:
        embeddings += hidden * (bare.context + ungated.positions)
    counted = bare.linear + embeddings + hidden * (2 * layers + 1)
    if counted > MOST_PARAMETERS:
        raise ModelError(f"{counted / 1e9:,.0f} B weights, which no model has", where=str(path),
                         mend="Mend its sizes")
    return _replaced(bare, counted, "the size is counted from config.json, as a gated decoder"
                     if ungated is None else "the size is counted from config.json, as a decoder "
                     "without a gate in its feed-forward layers")


def _number(config: Mapping[str, Any], key: str, path: Path, default: int | None = None) -> int:
    """A size in config.json; null and missing are the default, if there is one.

    Raises:
        ModelError: it is missing, or no whole number of at least 1.
    """
    value = config.get(key)
    if value is None and default is not None:
        return default
    if value is None:
        raise ModelError(f"no '{key}' in it, so the shape is not known", where=str(path),
                         mend="Give the size instead, such as 7B")
    if type(value) is not int or not 1 <= value <= _MOST_WIDE:
        raise ModelError(f"'{key}' is no whole number from 1 to {_MOST_WIDE}: {str(value)[:40]!r}",
                         where=str(path), mend="Correct it, or give the size instead, such as 7B")
    return value


def _from_size(name: str, parameters: float) -> Shape:
    """Between the two known shapes around `parameters`, on a logarithmic scale."""
    from math import log

    below = max((row for row in _KNOWN if row[0] <= parameters), default=_KNOWN[0])
    above = min((row for row in _KNOWN if row[0] >= parameters), default=_KNOWN[-1])
    if below is above:
        scale = (parameters / below[0]) ** (1 / 3)
        widths = [value * scale for value in below[1:6]]
    else:
        share = log(parameters / below[0]) / log(above[0] / below[0])
        widths = [b + (a - b) * share for b, a in zip(below[1:6], above[1:6], strict=True)]
    nearest = min((below, above), key=lambda row: abs(row[0] - parameters))
    heads = max(1, round(widths[2]))
    hidden = max(heads, round(widths[0] / heads) * heads)
    shape = _shape(name, hidden=hidden, layers=max(1, round(widths[1])), heads=heads,
                   kv_heads=max(1, min(heads, round(widths[3]))), fused=False, parameters=0,
                   intermediate=round(widths[4]), vocab=int(nearest[6]),
                   context=_LONGEST_PLANNED)
    # A size is the truth that the user gave; the linear weights are what is left of it.
    embeddings = min(2 * shape.vocab * hidden, int(parameters / 2))
    return _replaced(replace(shape, context_known=False), int(parameters), (
        f"a bare size: the shape ({shape.layers} layers of width {hidden}) is drawn between "
        "published models of like size"), linear=int(parameters) - embeddings)


def _replaced(shape: Shape, parameters: int, assumption: str, linear: int | None = None) -> Shape:
    return replace(shape, parameters=parameters, assumption=assumption,
                   linear=shape.linear if linear is None else linear)
