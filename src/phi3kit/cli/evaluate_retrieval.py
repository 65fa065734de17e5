"""`phi3kit evaluate-retrieval`: how often the right passages are found, by each way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phi3kit import progress, settings
from phi3kit.cli import dry_run
from phi3kit.cli.choices import FILTER, RERANK, STORE
from phi3kit.records import as_json

if TYPE_CHECKING:
    from phi3kit.records import CalibrationReport, RetrievalReport


def evaluate_retrieval(
    questions: Annotated[Path | None, typer.Option(
        help="Questions that carry source_ids, JSON Lines.")] = None,
    beir: Annotated[Path | None, typer.Option(
        metavar="FOLDER", help="Measure on a collection in BEIR's layout instead: corpus.jsonl, "
                               "queries.jsonl, qrels/test.tsv.")] = None,
    calibrate: Annotated[bool, typer.Option(
        "--calibrate", help="Choose ask.min_similarity by answerable and unanswerable "
                            "questions.")] = False,
    max_refused: Annotated[float | None, typer.Option(
        help="With --calibrate: share of answerable questions that may be refused.",
        show_default="0.05")] = None,
    filter_: Annotated[list[str] | None, typer.Option(
        "--filter", metavar="KEY=VALUE", help=FILTER)] = None,
    rerank: Annotated[str | None, typer.Option(help=RERANK)] = None,
    collection: Annotated[str | None, typer.Option(help="Collection to search.")] = None,
    store: Annotated[str | None, typer.Option(help=STORE)] = None,
    as_json_: Annotated[bool, typer.Option(
        "--json", help="Print the result as JSON, and nothing else on stdout.")] = False,
    dry: Annotated[bool, typer.Option(
        "--dry-run", help="Print each setting with its source and stop.")] = False,
) -> None:
    """Print hit@k, MRR and nDCG@10 with intervals for dense, lexical and hybrid retrieval."""
    if calibrate and beir:
        raise typer.BadParameter("--calibrate needs --questions: no query of a BEIR folder is "
                                 "known to be unanswerable")
    if questions and beir:
        raise typer.BadParameter("--beir brings its own questions; leave out --questions")
    if max_refused is not None and not calibrate:
        raise typer.BadParameter("--max-refused needs --calibrate")
    resolved = settings.load({
        "compare.questions": str(questions) if questions else None,
        "ask.filters": tuple(filter_) if filter_ else None, "ask.rerank": rerank,
        "ingest.collection": collection, "ingest.store": store})
    if dry:
        dry_run.show(resolved, "ingest", "ask", "compare")
        return
    found: RetrievalReport | CalibrationReport
    if calibrate:
        from phi3kit.compare import calibrate as calibration

        limit = calibration.LIMIT if max_refused is None else max_refused
        found = calibration.calibrate(resolved.values, limit)
    elif beir:
        from phi3kit.compare.retrieval import evaluate_beir

        found = evaluate_beir(resolved.values, beir)
    else:
        from phi3kit.compare.retrieval import evaluate_retrieval as evaluate

        with progress.bar("retrieving", None):
            found = evaluate(resolved.values)
    _show(found, json_wanted=as_json_)


def _show(found: RetrievalReport | CalibrationReport, *, json_wanted: bool) -> None:
    if json_wanted:
        typer.echo(json.dumps(as_json(found), ensure_ascii=False, indent=2))
        return
    from phi3kit.records import CalibrationReport
    from phi3kit.report import terminal_retrieval

    if isinstance(found, CalibrationReport):
        terminal_retrieval.print_calibration(found)
    else:
        terminal_retrieval.print_retrieval(found)
