"""An export on the terminal."""

from __future__ import annotations

import typer

from phi3kit.records import ExportReport, ExportStage
from phi3kit.wording import printable


def print_export(report: ExportReport) -> None:
    """Show what was written and how it compares with what was trained, on stdout."""
    typer.echo("\n".join(printable(line) for line in export_lines(report)))


def export_lines(report: ExportReport) -> list[str]:
    """The lines of `print_export`, without making names fit for a terminal."""
    width = max(len(s.name) for s in report.stages)
    seen = {True: "trained on", False: "not trained on",
            None: "trained on or not: its training data are gone or changed"}[report.seen]
    lines = [
        f"exported  {report.run} to {report.target}",
        f"  base      {report.base} ({report.method})",
        f"  measured  {report.examples} examples of {report.measured_on} ({seen}), "
        f"{report.prompts} of them answered",
        *(_stage(s, width, report.prompts) for s in report.stages),
        f"  limit     {report.limit} nats above the first",
        f"  time      {report.seconds:,.1f} s",
    ]
    if report.out:
        lines.append(f"  saved     {report.out} ({', '.join(report.files)})")
    if report.notes:
        lines += ["", *(f"  {line}" for line in report.notes)]
    return [*lines, "", "Next", f"  {report.command}"]


def _stage(stage: ExportStage, width: int, prompts: int) -> str:
    line = f"  {stage.name:<{width}}  loss {stage.loss:.4f}"
    if stage.same_tokens is None:
        return line
    return (f"{line}, {stage.same_tokens:.1%} of the likeliest tokens and {stage.same_answers} of "
            f"{prompts} answers as before")
