"""`phi3kit export`: a trained model for other software."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class To(StrEnum):
    """What can be written."""

    merged = "merged"
    gguf = "gguf"
    ollama = "ollama"
    vllm = "vllm"


class Held(StrEnum):
    """How GGUF holds matrices."""

    q8_0 = "q8_0"
    f16 = "f16"


def export(
    run: Annotated[Path, typer.Argument(help="Run folder of finetune.")],
    to: Annotated[To, typer.Option(help="merged: one model folder; gguf: one file for llama.cpp; "
                                        "ollama: that and a Modelfile; vllm: the command for "
                                        "the unmerged adapter.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write; RUN/export/<to> "
                                                  "otherwise.")] = None,
    examples: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Measure on these, examples or questions for compare. Otherwise: "
                             "compare.questions of the run, else the last examples that it was "
                             "trained on.")] = None,
    weights: Annotated[Held | None, typer.Option(
        show_default="q8_0", help="GGUF's matrices: q8_0 is half as large.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Type to merge in: bfloat16, float16, "
                                                   "float32; auto: the base's own.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the settings with their "
                                                            "sources and stop.")] = False,
) -> None:
    """Write a trained model for other software, load it again and compare.

    The loss before and after is measured, and an export that loses more than 0.05 nats is
    refused. Nothing is left of an export that fails.
    """
    from phi3kit import settings
    from phi3kit.cli import dry_run as printed

    if weights is not None and to not in (To.gguf, To.ollama):
        raise typer.BadParameter(f"--weights is how GGUF holds matrices, and --to {to.value} "
                                 "writes none; leave it out")
    resolved = settings.load({"model.dtype": dtype})
    if dry_run:
        from phi3kit.export.source import read_source
        from phi3kit.report.terminal_answer import plain

        source = read_source(run, resolved.values)
        typer.echo(f"{plain(str(run))}: {source.method} on {plain(source.base)}")
        # The model is that of the run.
        printed.show(resolved, "model", without=(
            "model.name", "model.revision", "model.quantization", "model.endpoint",
            "model.endpoint_context"))
        return
    from phi3kit.export.run import export as work

    report = work(resolved.values, run, to=to.value, out=out, examples=examples,
                  weights=(weights or Held.q8_0).value)
    if json:
        import json as encoder

        from phi3kit.records import as_json

        typer.echo(encoder.dumps(as_json(report), ensure_ascii=False))
        return
    from phi3kit.report.terminal_export import print_export

    print_export(report)
