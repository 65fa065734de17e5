"""The adapter inside the weights: an ordinary model folder, for any software that reads those."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phi3kit.errors import ModelError
from phi3kit.files import write_json

if TYPE_CHECKING:
    from phi3kit.export.source import Source
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import ModelSettings


def refuse_whole(source: Source) -> None:
    """Stop where there is no adapter to merge.

    Raises:
        ModelError: the run trained every weight.
    """
    if source.adapter is None:
        raise ModelError("this run trained the whole model: there is no adapter to merge",
                         where=str(source.run), mend=f"Use {source.whole.name} as it is")


def load_unmerged(settings: ModelSettings, adapter: Path | None) -> Loaded:
    """The model that `settings` name, with the adapter on it.

    Raises:
        ModelError: the model cannot be loaded, or is not the adapter's base.
    """
    from phi3kit.models.adapters import attach
    from phi3kit.models.loading import load_base

    loaded = load_base(settings,
                       quantization="nf4" if settings.quantization == "nf4" else "none")
    if adapter is not None:
        attach(loaded, adapter)
    return loaded


def write_merged(source: Source, folder: Path) -> None:
    """Write base and adapter as one model: safetensors, tokenizer with template, stop tokens.

    A model that trained whole is written as it is.

    Args:
        folder: an empty one.

    Raises:
        ModelError: the base cannot be loaded, or is asked for in 4 bits.
    """
    from phi3kit.models.adapters import merge
    from phi3kit.models.chat import stop_token_ids
    from phi3kit.models.decoding import forget_sampling

    loaded = load_unmerged(source.whole, source.adapter)
    merge(loaded)
    model, tokenizer = loaded.model, loaded.tokenizer
    # Servers stop at these, and sample only if asked to.
    forget_sampling(model)
    model.generation_config.eos_token_id = stop_token_ids(tokenizer, model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(folder / "phi3kit.json", {
        "base": source.base, "fingerprint": loaded.fingerprint, "run": source.run.name,
        "method": source.method, "instruction": source.instruction})
