"""`phi3kit ingest`: documents into a collection."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from phi3kit.cli.choices import STORE

if TYPE_CHECKING:
    from phi3kit.records import IngestReport


class Precision(StrEnum):
    """Of the embedder."""

    AUTO = "auto"
    INT8 = "int8"


class Engine(StrEnum):
    """What reads, cuts and embeds."""

    LOCAL = "local"
    RAY = "ray"


def ingest(
    paths: Annotated[list[str] | None, typer.Argument(
        metavar="PATH", help="Files and folders to mirror; none: ingest.corpus of "
                                  "phi3kit.yaml.", show_default=False)] = None,
    collection: Annotated[str | None, typer.Option(help="Collection to fill.")] = None,
    store: Annotated[str | None, typer.Option(help=STORE)] = None,
    embedder: Annotated[str | None, typer.Option(
        help="minilm (packaged), hub id or folder of a sentence-transformers model, or a "
             "provider's, which is sent your text: openai:MODEL, azure:DEPLOYMENT, jina:MODEL, "
             "URL#MODEL.")] = None,
    precision: Annotated[Precision | None, typer.Option(
        help="Of the embedder; int8: faster on a CPU, slightly other passages.")] = None,
    engine: Annotated[Engine | None, typer.Option(
        help="What reads and embeds: this process, or Ray, on this machine or the cluster of "
             "RAY_ADDRESS (each machine must reach the files by the same paths).")] = None,
    chunk_tokens: Annotated[int | None, typer.Option(
        help="Longest chunk in the embedder's tokens.")] = None,
    prune: Annotated[bool | None, typer.Option(
        "--prune/--no-prune", help="Whether what is removed from the folders goes from the "
                                   "collection.", show_default="prune")] = None,
    rebuild: Annotated[bool, typer.Option(
        "--rebuild", help="Build the collection anew beside the old one, which stays in use "
                          "until the new one is complete.")] = False,
    watch: Annotated[bool, typer.Option(
        "--watch", help="Keep the collection current until Ctrl-C.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    dry_run: Annotated[bool, typer.Option(
        "--dry-run", help="Print each setting with its source and what would happen, and write "
                          "nothing.")] = False,
) -> None:
    """Bring a collection up to date with documents: new, edited and removed files."""
    from phi3kit import settings
    from phi3kit.cli import dry_run as dry
    from phi3kit.ingest import reconcile

    resolved = settings.load({
        "ingest.corpus": tuple(paths) if paths else None, "ingest.collection": collection,
        "ingest.store": store, "ingest.embedder": embedder, "ingest.chunk_tokens": chunk_tokens,
        "ingest.precision": precision.value if precision else None, "ingest.prune": prune,
        "ingest.engine": engine.value if engine else None,
    })
    if dry_run:
        if not json:
            dry.show(resolved, "ingest")
        report = reconcile.preview(resolved.values, rebuild=rebuild)
        _show(report, json=json, preview=True)
        raise typer.Exit(int(bool(report.failed)))
    if watch:
        from phi3kit.ingest.watch import watch as keep_current
        from phi3kit.report.terminal_ingest import print_line

        keep_current(resolved.values, _lines if json else print_line, rebuild=rebuild)
        return
    report = reconcile.ingest(resolved.values, rebuild=rebuild)
    if resolved.values.ingest.precision == "int8":
        from phi3kit.ingest import fidelity

        report = fidelity.measured(resolved.values, report)
    _show(report, json=json)
    if report.failed:
        raise typer.Exit(1)


def _show(report: IngestReport, *, json: bool, preview: bool = False) -> None:
    from phi3kit.report import terminal_ingest

    if json:
        import json as encoder

        typer.echo(encoder.dumps(_record(report), indent=2, ensure_ascii=False))
    elif preview:
        terminal_ingest.print_preview(report)
    else:
        terminal_ingest.print_ingest(report)


def _lines(report: IngestReport) -> None:
    """One JSON object a line, for a process that reads along."""
    import json as encoder
    import sys

    typer.echo(encoder.dumps(_record(report), ensure_ascii=False))
    sys.stdout.flush()


def _record(report: IngestReport) -> dict[str, object]:
    from phi3kit.records import as_json
    from phi3kit.report.terminal_ingest import counts

    return {**as_json(report), "counts": counts(report)}
