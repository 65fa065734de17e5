"""`phi3kit report`: draw a comparison's reports again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phi3kit.cli.compare import show


def report(
    run: Annotated[Path, typer.Argument(help="Run folder that compare made.")],
    html: Annotated[Path | None, typer.Option(
        help="Where the HTML page goes instead of the run folder.")] = None,
    as_json_: Annotated[bool, typer.Option(
        "--json", help="Print the result as JSON, and nothing else on stdout.")] = False,
) -> None:
    """Draw a finished comparison again: no model, no GPU; exit codes as in compare."""
    from phi3kit.compare.results import load_comparison

    show(load_comparison(run), json_wanted=as_json_, html=html)
