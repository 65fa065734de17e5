"""`--dry-run`: each value and where it comes from, and nothing done."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer

from phi3kit.settings import Resolved


def show(resolved: Resolved, *sections: str, without: Sequence[str] = ()) -> None:
    """Print the named sections' settings with their sources: default, file or flag.

    Args:
        without: keys that the command does not look at.
    """
    rows = [(key, json.dumps(value, ensure_ascii=False), source)
            for key, value, source in resolved.items(*sections) if key not in without]
    width = max(len(key) for key, _, _ in rows)
    for key, value, source in rows:
        origin = f"file {resolved.file}" if source == "file" else source
        typer.echo(f"{key:<{width}}  {value}  ({origin})")
