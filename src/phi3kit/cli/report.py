"""`phi3kit report`: draw a comparison's reports again, or several side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from phi3kit.cli.compare import show


def report(
    runs: Annotated[list[Path], typer.Argument(
        metavar="RUN...", help="Run folder that compare made. Several are set side by side, held "
                               "against the first.")],
    html: Annotated[Path | None, typer.Option(
        help="Where the HTML page goes instead of the (first) run folder; the Markdown stays "
             "there.")] = None,
    as_json_: Annotated[bool, typer.Option(
        "--json", help="Print the result as JSON, and nothing else on stdout.")] = False,
) -> None:
    """Draw a finished comparison again, or set several side by side: no model, no GPU.

    For one run report.html and report.md are written into its folder, and the exit code is that
    of compare; for several side-by-side.html and side-by-side.md into the first's, and it is 0.
    """
    if len(runs) > 1:
        _show_side_by_side(runs, html, json_wanted=as_json_)
        return
    from phi3kit.compare.results import load_comparison

    show(load_comparison(runs[0]), json_wanted=as_json_, html=html)


def _show_side_by_side(runs: Sequence[Path], html: Path | None, *, json_wanted: bool) -> None:
    from phi3kit.compare.side_by_side import load_side_by_side
    from phi3kit.records import as_json
    from phi3kit.report.html_side_by_side import write_side_by_side

    record = load_side_by_side(runs)
    page = write_side_by_side(record, html)
    if json_wanted:
        typer.echo(json.dumps(as_json(record), ensure_ascii=False, indent=2))
        return
    from phi3kit.report.terminal_side_by_side import print_side_by_side

    print_side_by_side(record, page)
