"""How a base model reads a chat, hashed: what its weights' fingerprint does not tell.

The same weights under another chat template or another tokenizer are shown other tokens, and
under another configuration they compute otherwise. A hub model's commit stands for all of it;
a folder's files can be changed one by one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phi3kit.errors import ModelError
from phi3kit.files import sha256_bytes

TEMPLATE, TOKENIZER, CONFIG = "chat template", "tokenizer", "config"

# Of what is saved otherwise by another version, and changes no answer.
_NOT_ARITHMETIC = frozenset({"transformers_version", "architectures", "dtype", "torch_dtype",
                             "use_cache", "pad_token_id"})
# Where there is no tokenizer.json.
_SLOW = ("tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json")


def reading_of(folder: Path) -> dict[str, str]:
    """SHA-256 of the chat template, of the tokenizer and of the configuration in a folder.

    Of the tokenizer count its tokens, its merges and what it does to a text before; of all three
    not how the files are laid out, which another version of a library may change.

    Raises:
        ModelError: one of the files is no JSON.
    """
    settings = _json(folder / "tokenizer_config.json")
    return {TEMPLATE: _hash(_template(folder, settings)),
            TOKENIZER: _hash(_tokenizer(folder, settings)),
            CONFIG: _hash({key: value for key, value in _json(folder / "config.json").items()
                           if not key.startswith("_") and key not in _NOT_ARITHMETIC})}


def _template(folder: Path, settings: dict[str, Any]) -> Any:
    """As transformers looks for it: a file of its own goes before the tokenizer's settings."""
    alone = folder / "chat_template.jinja"
    if alone.is_file():
        return alone.read_text(encoding="utf-8", errors="replace")
    return _json(folder / "chat_template.json").get("chat_template",
                                                    settings.get("chat_template"))


def _tokenizer(folder: Path, settings: dict[str, Any]) -> Any:
    named = {key: _content(settings.get(key)) for key in ("bos_token", "eos_token")}
    whole = _json(folder / "tokenizer.json")
    if not whole:
        return [named, {name: sha256_bytes((folder / name).read_bytes())
                        for name in _SLOW if (folder / name).is_file()}]
    model = whole.get("model") or {}
    merges = [" ".join(merge) if isinstance(merge, list) else merge
              for merge in model.get("merges") or ()]
    added = [[token.get("id"), token.get("content")] for token in whole.get("added_tokens") or ()]
    return [named, model.get("vocab"), merges, added, whole.get("normalizer"),
            whole.get("pre_tokenizer")]


def _content(token: Any) -> Any:
    return token.get("content") if isinstance(token, dict) else token


def _json(path: Path) -> dict[str, Any]:
    """An object; an empty one where there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path.name} cannot be read ({error})", where=str(path.parent),
                         mend="Copy or download the model again") from error
    return found if isinstance(found, dict) else {}


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return f"sha256:{sha256_bytes(text.encode())}"
