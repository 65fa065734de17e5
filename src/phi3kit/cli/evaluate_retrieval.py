"""`phi3kit evaluate-retrieval`: how often the right passages are found, by each way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from phi3kit import progress, settings
from phi3kit.cli import dry_run
from phi3kit.records import as_json


def evaluate_retrieval(
    questions: Annotated[Path | None, typer.Option(
        help="Questions that carry source_ids, JSON Lines.")] = None,
    collection: Annotated[str | None, typer.Option(help="Collection to search.")] = None,
    as_json_: Annotated[bool, typer.Option(
        "--json", help="Print the result as JSON, and nothing else on stdout.")] = False,
    dry: Annotated[bool, typer.Option(
        "--dry-run", help="Print each setting with its source and stop.")] = False,
) -> None:
    """Print hit@k, MRR and nDCG@10 with intervals for dense, lexical and hybrid retrieval."""
    resolved = settings.load({
        "compare.questions": str(questions) if questions else None,
        "ingest.collection": collection})
    if dry:
        dry_run.show(resolved, "ingest", "compare")
        return

    from phi3kit.compare.retrieval import evaluate_retrieval as evaluate

    with progress.bar("retrieving", None):
        found = evaluate(resolved.values)
    if as_json_:
        typer.echo(json.dumps(as_json(found), ensure_ascii=False, indent=2))
        return
    from phi3kit.report import terminal_retrieval

    terminal_retrieval.print_retrieval(found)
