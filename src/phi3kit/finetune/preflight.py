"""What is looked at before a model trains: wrong without an error, it would be trained in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from phi3kit.errors import ModelError

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import FinetuneSettings

# How Phi, Llama 3, Qwen, SmolLM and most others write who speaks and where a turn ends.
_MARK = re.compile(r"<\|[^|<>\s]+\|>")


def preflight(loaded: Loaded, own: FinetuneSettings) -> list[str]:
    """Check template and tokenizer against each other; what has to be known, in lines.

    That the layers to adapt are in the model, `adapters.target_modules` sees to, and that the
    token that ends an answer is not the one for padding, `loading`.

    Raises:
        ModelError: no chat template, or one that writes control tokens which the tokenizer does
            not have.
    """
    _refuse_split_marks(loaded.tokenizer)
    return _context(loaded, own.max_tokens)


def _refuse_split_marks(tokenizer: Any) -> None:
    """A turn's mark in several tokens is ordinary text: nothing ever ends there."""
    from phi3kit.models.chat import render

    text = render(tokenizer, [{"role": "user", "content": "?"},
                              {"role": "assistant", "content": "!"}], generation=False)
    for mark in dict.fromkeys(_MARK.findall(text)):
        count = len(tokenizer(mark, add_special_tokens=False)["input_ids"])
        if count != 1:
            raise ModelError(
                f"the chat template writes {mark}, which the tokenizer takes for {count} tokens of "
                "ordinary text", where=str(tokenizer.name_or_path),
                mend="Use the tokenizer that belongs to the template, or the model's own template")


def _context(loaded: Loaded, wanted: int) -> list[str]:
    if wanted > loaded.context:
        return [f"finetune.max_tokens is {wanted:,} and the model holds {loaded.context:,} tokens: "
                "longer examples lose the start of their prompts"]
    config = loaded.model.config
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    # LongRoPE (Ding et al. 2024) has factors for rows within the first training's context, and
    # others for longer ones.
    short = (rope.get("original_max_position_embeddings")
             or getattr(config, "original_max_position_embeddings", None))
    if rope.get("rope_type") == "longrope" and short and wanted > short:
        return [f"finetune.max_tokens is {wanted:,}: examples of more than {short:,} tokens are "
                "trained with the model's factors for long context, shorter ones with the others"]
    return []
