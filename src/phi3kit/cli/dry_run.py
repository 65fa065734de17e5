"""`--dry-run`: each value and where it comes from, and nothing done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from phi3kit.models.server_url import without_secrets
from phi3kit.settings import Resolved

# What null stands for, where a value is chosen when the work begins.
_NULL = {"finetune.micro_batch_tokens": "chosen by the device"}


def show(resolved: Resolved, *sections: str, without: Sequence[str] = (),
         null: Mapping[str, str] = _NULL) -> None:
    """Print the named sections' settings with their sources: default, file or flag.

    Args:
        without: keys that the command does not look at.
        null: what null stands for, by key.
    """
    rows = [(key, value, source) for key, value, source in resolved.items(*sections)
            if key not in without]
    width = max(len(key) for key, _, _ in rows)
    for key, value, source in rows:
        origin = f"file {resolved.file}" if source == "file" else source
        meant = f": {null[key]}" if value is None and key in null else ""
        shown = json.dumps(_told(value), ensure_ascii=False)
        typer.echo(f"{key:<{width}}  {shown}  ({origin}{meant})")


def show_json(resolved: Resolved, *sections: str, **more: object) -> None:
    """The same as JSON, `settings` with each key's value and source, and what else is found.

    Args:
        more: JSON, by name.
    """
    keys = {key: {"value": value, "source": source}
            for key, value, source in resolved.items(*sections)}
    typer.echo(json.dumps(_told({"settings": keys, **more}), ensure_ascii=False, indent=2))


def _told(value: Any) -> Any:
    """The value with no password or query in its URLs; the command itself refuses those."""
    if isinstance(value, str):
        # In running text, as of ask.instruction, an "@" may stand far behind a URL.
        url = not any(map(str.isspace, value.lstrip().partition("://")[0]))
        return without_secrets(value) if url else value
    if isinstance(value, Mapping):
        return {key: _told(part) for key, part in value.items()}
    return [_told(part) for part in value] if isinstance(value, (list, tuple)) else value
