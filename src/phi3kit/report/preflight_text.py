"""A model before it trains, in rows for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from phi3kit.records import Preflight
from phi3kit.wording import printable


def preflight_rows(found: Preflight) -> Iterator[tuple[str, str]]:
    """(label, text) of what was seen, of what has to be known, and of what was not looked at."""
    if found.ends:
        writes = f"{', '.join(found.marks)}, each one token; " if found.marks else ""
        yield "template", (f"{writes}answers end with {' or '.join(found.ends)}, padding is "
                           f"{found.padding}")
    if found.modules:
        yield "adapter", f"on {', '.join(found.modules)}"
    if found.context is not None:
        yield "context", f"{found.context:,} tokens, {found.positions} positions"
    for note in found.notes:
        yield "note", note
    for later in found.unseen:
        yield "later", later
    for problem in found.problems:
        yield "problem", problem


def print_preflight(found: Preflight) -> None:
    """Show it on stdout, below a line that names the model."""
    typer.echo(f"{printable(found.model)}: before it trains")
    for label, text in preflight_rows(found):
        typer.echo(f"  {label:<9} {printable(text)}")
