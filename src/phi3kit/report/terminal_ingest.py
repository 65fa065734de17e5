"""What an ingest did, or would do, on one screen; and in one line while it watches."""

from __future__ import annotations

import sys
import time

import typer

from phi3kit.records import IngestReport

_OUTCOMES = ("added", "changed", "unchanged", "deleted")
_SHOWN = 20


def counts(report: IngestReport) -> dict[str, int]:
    """Number of files by outcome."""
    return {**{name: len(getattr(report, name)) for name in _OUTCOMES},
            "failed": report.files_failed}


def print_ingest(report: IngestReport) -> None:
    """Counts by outcome, then each failure on a line of its own (the first 20)."""
    typer.echo(f"collection  {report.collection} in {report.store}")
    typer.echo(f"files       {_counts(report)}")
    typer.echo(f"chunks      {report.chunks:,}: {report.chunks_embedded:,} embedded "
               f"({report.tokens:,} tokens), {report.chunks_deleted:,} deleted")
    if report.embedded_again:
        typer.echo(f"index       could not be read: {report.embedded_again:,} chunks were "
                   "embedded again")
    if report.verified:
        anew = "; some were not, and the index was built anew" if report.reindexed else ""
        typer.echo(f"index       {report.verified:,} chunks looked for by their own vectors"
                   f"{anew}")
    typer.echo(f"time        {report.seconds:.1f} s")
    _print_failures(report)


def print_preview(report: IngestReport) -> None:
    """Counts by outcome, then the names of what would change (the first 20 of each kind)."""
    typer.echo("")
    typer.echo(f"would be    {_counts(report)}; nothing was written")
    for outcome in ("added", "changed", "deleted"):
        names = getattr(report, outcome)
        for name in names[:_SHOWN]:
            typer.echo(f"{outcome:<12}{_plain(name)}")
        _print_rest(len(names))
    _print_failures(report)


def print_line(report: IngestReport) -> None:
    """One line, and each failure on a line of its own."""
    typer.echo(f"{time.strftime('%H:%M:%S')}  {_counts(report)}; {report.chunks:,} chunks, "
               f"{report.chunks_embedded:,} embedded; {report.seconds:.1f} s")
    _print_failures(report)
    sys.stdout.flush()


def _counts(report: IngestReport) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts(report).items())


def _print_failures(report: IngestReport) -> None:
    for failure in report.failed[:_SHOWN]:
        typer.echo(f"failed      {_plain(failure.where)}: {_plain(failure.why)}")
    _print_rest(len(report.failed))


def _print_rest(count: int) -> None:
    if count > _SHOWN:
        typer.echo(f"            and {count - _SHOWN} more; --json lists all")


def _plain(text: str) -> str:
    """One line without control characters: names of files are data."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))
