"""What is looked at before a model trains: wrong without an error, it would be trained in.

Most of it can be seen without the weights, and so ahead of the training: `look`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from phi3kit.errors import ModelError, first_line
from phi3kit.models import four_bit
from phi3kit.models.bases import attends_by, local_configs
from phi3kit.models.catalog import find
from phi3kit.models.chat import MARK, answer_end, render, stop_token_ids, turn_end
from phi3kit.models.linear import target_modules
from phi3kit.models.loading import Loaded, context_of, settle_padding
from phi3kit.models.prequantised import refuse_quantised
from phi3kit.models.tokenizer import any_tokenizer
from phi3kit.records import Preflight
from phi3kit.settings import FinetuneSettings, ModelSettings

# More than any model has; a config.json may say anything.
_MOST_LAYERS = 1000
_LATER = "looked at when training starts"


def preflight(loaded: Loaded, max_tokens: int) -> list[str]:
    """Check template and tokenizer against each other; what has to be known, in lines.

    That the layers to adapt are in the model, `linear.target_modules` sees to, and that the
    token that ends an answer is not the one for padding, `loading`.

    Args:
        loaded: the model that is about to train.
        max_tokens: of the longest example.

    Raises:
        ModelError: no chat template, or one that ends an answer with a mark which the tokenizer
            does not have, or with nothing that stops it.
    """
    _, split = _marks(loaded.tokenizer)
    rounded = (four_bit.rounding(loaded.model, loaded.name) if loaded.quantization == "nf4"
               else [])
    return [*_told(split), *rounded,
            *_context(loaded.model.config, loaded.context, max_tokens)]


def look(model: ModelSettings, own: FinetuneSettings) -> Preflight:
    """The same ahead of a training, and the layers that it would adapt; no weights are loaded.

    Nothing is raised for a model that cannot be trained on: that is what it tells.
    """
    blank = Preflight(model=model.name)
    if model.endpoint is not None:
        return replace(blank, unseen=(f"model.endpoint is set: of {model.name} nothing is here to "
                                      "look at, and training needs it here",))
    try:
        tokenizer = any_tokenizer(model)
        config, generation = local_configs(model.name, model.revision)
    except ModelError as error:
        return replace(blank, problems=(str(error),))
    if tokenizer is None and config is None:
        return replace(blank, unseen=(
            f"{model.name} is not on this machine: its template, special tokens, layers and "
            f"context are {_LATER}",))
    found = _of_tokenizer(blank, tokenizer, config, generation)
    return _of_config(found, config, model, own)


def _of_tokenizer(found: Preflight, tokenizer: Any, config: Any, generation: Any) -> Preflight:
    if tokenizer is None:
        return replace(found, unseen=(*found.unseen, f"its tokenizer is not here: template and "
                                                     f"special tokens are {_LATER}"))
    try:
        marks, split = _marks(tokenizer)
        ends = stop_token_ids(tokenizer, SimpleNamespace(config=config,
                                                         generation_config=generation))
    except ModelError as error:
        return replace(found, problems=(*found.problems, str(error)))
    settle_padding(tokenizer)
    return replace(found, marks=tuple(marks), notes=(*found.notes, *_told(split)),
                   padding=str(tokenizer.pad_token or ""),
                   ends=tuple(map(str, tokenizer.convert_ids_to_tokens(ends))))


def _of_config(found: Preflight, config: Any, model: ModelSettings,
               own: FinetuneSettings) -> Preflight:
    if config is None:
        return replace(found, unseen=(*found.unseen, "its config.json is not here: layers and "
                                                     f"context are {_LATER}"))
    made = found if own.full else _with_layers(found, config, model, qlora=own.qlora)
    try:
        refuse_quantised(config, model.name, rounding=own.qlora)
        holds = context_of(config, model.name)
    except ModelError as error:
        if made.problems != found.problems:  # no such model: its context is no matter
            return made
        return replace(made, problems=(*made.problems, str(error)))
    return replace(made, context=holds, positions=_rope(config).get("rope_type") or "default",
                   notes=(*made.notes, *_context(config, holds, own.max_tokens)))


def _with_layers(found: Preflight, config: Any, model: ModelSettings, *,
                 qlora: bool) -> Preflight:
    try:
        made = _without_weights(config, model)
        told = four_bit.rounding(made.model, model.name) if qlora else []
        return replace(found, modules=target_modules(made), notes=(*found.notes, *told))
    except ModelError as error:
        return replace(found, problems=(*found.problems, str(error)))
    except (RuntimeError, LookupError, TypeError, AttributeError, ImportError) as error:
        # Code that cannot be run without weights says so in any way it likes.
        return replace(found, unseen=(*found.unseen, "the layers cannot be made without weights "
                                      f"({first_line(error)}): they are {_LATER}"))


def _without_weights(config: Any, model: ModelSettings) -> Loaded:
    """A model that has its layers' names and sizes, and no weights.

    Raises:
        ModelError: transformers has no such causal language model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if getattr(config, "num_hidden_layers", 0) > _MOST_LAYERS:
        raise RuntimeError(f"{config.num_hidden_layers} of them")
    try:
        with torch.device("meta"):
            made = AutoModelForCausalLM.from_config(
                config, attn_implementation=attends_by(config))
    except ValueError as error:
        raise ModelError(f"the model cannot be made ({first_line(error)})", where=model.name,
                         mend="Use a causal language model that transformers has") from error
    return Loaded(
        model=made, tokenizer=None, name=model.name, fingerprint="", quantization="none",
        dtype="float32", device="meta", spec=find(model.name), context=0)


def _marks(tokenizer: Any) -> tuple[Sequence[str], Sequence[str]]:
    """The marks that the template writes: those that are one token each, and those that are text.

    Marks of who speaks may be text, as Zephyr's are. What ends an answer may not: nothing ends
    where the end is several tokens, which the model has to write one by one.

    Raises:
        ModelError: as `preflight`.
    """
    text = render(tokenizer, [{"role": "user", "content": "?"},
                              {"role": "assistant", "content": "!"}], generation=False)
    marks = list(dict.fromkeys(MARK.findall(text)))
    counts = {mark: len(tokenizer(mark, add_special_tokens=False)["input_ids"]) for mark in marks}
    end = answer_end(tokenizer)
    if counts.get(end, 1) != 1:
        raise ModelError(
            f"the chat template writes {end}, which the tokenizer takes for {counts[end]} tokens "
            "of ordinary text, behind each answer", where=str(tokenizer.name_or_path),
            mend="Use the tokenizer that belongs to the template, or the model's own template")
    if turn_end(tokenizer) is None and tokenizer.eos_token_id is None:
        raise ModelError("the chat template ends an answer with no token that could stop it, and "
                         "the tokenizer has none", where=str(tokenizer.name_or_path),
                         mend="Name its eos_token in tokenizer_config.json")
    return [m for m in marks if counts[m] == 1], [m for m in marks if counts[m] != 1]


def _told(split: Sequence[str]) -> list[str]:
    return [f"the chat template writes {', '.join(split)}, which the tokenizer takes for ordinary "
            "text: right where the model was trained so, as Zephyr was"] if split else []


def _context(config: Any, holds: int, wanted: int) -> list[str]:
    if wanted > holds:
        return [f"finetune.max_tokens is {wanted:,} and the model holds {holds:,} tokens: "
                "longer examples lose the start of their prompts"]
    rope = _rope(config)
    # LongRoPE (Ding et al. 2024) has factors for rows within the first training's context, and
    # others for longer ones.
    short = (rope.get("original_max_position_embeddings")
             or getattr(config, "original_max_position_embeddings", None))
    if rope.get("rope_type") == "longrope" and short and wanted > short:
        return [f"finetune.max_tokens is {wanted:,}: examples of more than {short:,} tokens are "
                "trained with the model's factors for long context, shorter ones with the others"]
    return []


def _rope(config: Any) -> dict[str, Any]:
    return (getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
            or {})
