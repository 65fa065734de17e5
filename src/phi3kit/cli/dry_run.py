"""`--dry-run`: each value and where it comes from, and nothing done."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import typer

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
        shown = _without_passwords(json.dumps(value, ensure_ascii=False))
        typer.echo(f"{key:<{width}}  {shown}  ({origin}{meant})")


def show_json(resolved: Resolved, *sections: str, **more: object) -> None:
    """The same as JSON, `settings` with each key's value and source, and what else is found.

    Args:
        more: JSON, by name.
    """
    keys = {key: {"value": value, "source": source}
            for key, value, source in resolved.items(*sections)}
    typer.echo(_without_passwords(
        json.dumps({"settings": keys, **more}, ensure_ascii=False, indent=2)))


def _without_passwords(text: str) -> str:
    """JSON in which no URL names a user; the command itself refuses one that does."""
    return re.sub(r"(://)[^/@\s\"]+@", r"\1…@", text)
