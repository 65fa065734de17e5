"""A base model's tokenizer alone, where it is already here: for counting, without weights."""

from __future__ import annotations

from typing import Any

from phi3kit.errors import ModelError
from phi3kit.models.bases import resolve_base
from phi3kit.models.quiet import hush
from phi3kit.settings import ModelSettings


def local_tokenizer(settings: ModelSettings) -> Any | None:
    """The tokenizer that would put a chat as the model is shown it; the hub is not asked.

    Returns:
        None where there is none: as `any_tokenizer`, a bare size, or a tokenizer without a chat
        template.
    """
    try:
        found = any_tokenizer(settings)
    except ModelError:
        return None
    return found if found is not None and found.chat_template else None


def any_tokenizer(settings: ModelSettings) -> Any | None:
    """The tokenizer of the packaged model, a folder, or a cached hub model; the hub is not asked.

    Returns:
        None where there is none: a model that was never downloaded, or a folder that holds a
        config.json alone.

    Raises:
        ModelError: as `resolve_base`.
    """
    base, revision = resolve_base(settings.name, settings.revision)
    from transformers import AutoTokenizer

    hush()
    try:
        return AutoTokenizer.from_pretrained(base, revision=revision, local_files_only=True,
                                             trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError):
        return None  # transformers says "not here" and "damaged" in all these ways
