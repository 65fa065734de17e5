"""A base model's tokenizer alone, where it is already here: for counting, without weights."""

from __future__ import annotations

from typing import Any

from phi3kit.errors import ModelError
from phi3kit.models.loading import resolve_base
from phi3kit.models.quiet import hush
from phi3kit.settings import ModelSettings


def local_tokenizer(settings: ModelSettings) -> Any | None:
    """The tokenizer of the packaged model, a folder, or a cached hub model; the hub is not asked.

    Returns:
        None where there is none: a bare size, a model that was never downloaded, a folder that
        holds a config.json alone, or a tokenizer without a chat template.
    """
    try:
        base, revision = resolve_base(settings.name, settings.revision)
    except ModelError:
        return None
    from transformers import AutoTokenizer

    hush()
    try:
        found = AutoTokenizer.from_pretrained(base, revision=revision, local_files_only=True,
                                              trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError):
        return None  # transformers says "not here" and "damaged" in all these ways
    return found if found.chat_template else None
