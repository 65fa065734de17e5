"""Whether a folder holds all the weights of its model.

transformers fills what is missing with random numbers and goes on; vectors and scores of such
a model look like any others.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from phi3kit.errors import ModelError
from phi3kit.models.sentence import read_json

# On top of the last layer, for BERT's own first task. sentence-transformers pools the tokens'
# vectors instead, and many of its models were saved without it.
_UNUSED = "pooler."


def require_whole(model: Any, folder: Path, *, where: str, kind: str) -> None:
    """Refuse a loaded model that was made up in part.

    Its weights' names are compared once more, without reading them.

    Args:
        model: of sentence-transformers, as it was loaded from `folder`.
        where: the model's name, and `kind` what it is, in messages.

    Raises:
        ModelError: weights are missing.
    """
    loaded = getattr(model[0], "auto_model", None)
    if loaded is None:  # a module of sentence-transformers itself, which loads all or nothing
        return
    modules = read_json(folder / "modules.json", [])
    place = folder / str(modules[0].get("path", "")) if modules else folder
    _, told = type(loaded).from_pretrained(
        place, device_map="meta", output_loading_info=True, use_safetensors=True,
        local_files_only=True)
    refuse_missing(told["missing_keys"], where=where, kind=kind)


def refuse_missing(names: Collection[str], *, where: str, kind: str) -> None:
    """Refuse a model that lacks weights; `names` as transformers tells them.

    Raises:
        ModelError: one of them is of a layer that is used.
    """
    missing = sorted(name for name in names if not name.startswith(_UNUSED))
    if missing:
        raise ModelError(f"the {kind} lacks {len(missing)} of its weights, such as "
                         f"{missing[0]}", where=where, mend=f"Copy or save the {kind} again")
