"""`phi3kit dataset`: training examples checked, split, given passages, or written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from phi3kit import settings
from phi3kit.cli import dry_run

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None,
                  help="Training examples: check, split, give passages, write.")

_File = Annotated[Path | None, typer.Argument(
    help="Examples: .jsonl, .json or .csv; finetune.dataset where it is left out.")]
_Questions = Annotated[Path | None, typer.Option(
    help="Held-out questions that no example may give away.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
_Dry = Annotated[bool, typer.Option("--dry-run", help="Print the settings with their sources "
                                                      "and stop.")]
_Force = Annotated[bool, typer.Option("--force", help="Replace what is there already.")]
_Model = Annotated[str | None, typer.Option(help="Base: catalog name, hub id or folder.")]
_Collection = Annotated[str | None, typer.Option(help="Collection of the documents.")]


@app.command()
def check(
    file: _File = None,
    questions: _Questions = None,
    model: _Model = None,
    base: Annotated[bool, typer.Option(
        "--base", help="Also ask the model which answers it gives already; it is loaded for "
                       "that.")] = False,
    strict: Annotated[bool, typer.Option(
        "--strict", help="Exit code 1 when an example would be left out or cut, is close to a "
                         "held-out question or contradicts another.")] = False,
    as_json: _Json = False,
    dry: _Dry = False,
) -> None:
    """Show what the examples hold and what is wrong with them, before training does.

    The model's template, special tokens, layers to adapt and context are looked at too, without its
    weights; exit code 1 when they would stop a training.
    """
    resolved = settings.load({"finetune.dataset": _text(file), "model.name": model,
                              "compare.questions": _text(questions)})
    if dry:
        dry_run.show(resolved, "model", "ask", "finetune", "compare")
        return
    from phi3kit.dataset import check as room

    found = room.check(resolved.values, base=base)
    if as_json:
        _print_json(found)
    else:
        from phi3kit.report import terminal_dataset

        terminal_dataset.print_check(found)
    cut = found.lengths is not None and found.lengths.cut
    unfit = found.preflight is not None and found.preflight.problems
    if not found.examples or unfit or (strict and (
            found.skipped or found.leaks or found.conflicts or cut)):
        raise typer.Exit(1)


@app.command()
def split(
    out: Annotated[Path, typer.Option(help="Folder for train.jsonl and questions.jsonl.")],
    file: _File = None,
    share: Annotated[float, typer.Option(
        min=0.01, max=0.99, help="Share of the examples to train on.")] = 0.8,
    seed: Annotated[int | None, typer.Option(help="Order of groups of one size.")] = None,
    force: _Force = False,
    as_json: _Json = False,
    dry: _Dry = False,
) -> None:
    """Hold examples out for `compare`, whole source documents at a time."""
    resolved = settings.load({"finetune.dataset": _text(file), "finetune.seed": seed})
    if dry:
        dry_run.show(resolved, "finetune")
        return
    from phi3kit.dataset.check import named_files
    from phi3kit.dataset.split import split as cut

    path, _ = named_files(resolved.values)
    report = cut(path, out, share=share, seed=resolved.values.finetune.seed, force=force,
                 instruction=resolved.values.ask.instruction)
    if as_json:
        _print_json(report)
    else:
        from phi3kit.report import terminal_dataset

        terminal_dataset.print_split(report)


@app.command()
def raft(
    out: Annotated[Path, typer.Option(help="File for the examples (.jsonl).")],
    file: _File = None,
    without: Annotated[float, typer.Option(
        min=0.0, max=1.0, help="Share of the examples whose right passage is left out; their "
                               "answer is then that the model does not know.")] = 0.2,
    passages: Annotated[int | None, typer.Option(help="Passages of each prompt.")] = None,
    questions: _Questions = None,
    collection: _Collection = None,
    seed: Annotated[int | None, typer.Option(help="Which examples lose their passage.")] = None,
    force: _Force = False,
    as_json: _Json = False,
    dry: _Dry = False,
) -> None:
    """Give the examples retrieved passages, as `ask` shows them, and their answers citations."""
    resolved = settings.load({
        "finetune.dataset": _text(file), "finetune.seed": seed, "ask.passages": passages,
        "compare.questions": _text(questions), "ingest.collection": collection})
    if dry:
        dry_run.show(resolved, "ingest", "ask", "finetune", "compare")
        return
    from phi3kit.dataset.raft import raft as give_passages

    report = give_passages(resolved.values, out, without=without, force=force)
    if as_json:
        _print_json(report)
    else:
        from phi3kit.report import terminal_dataset

        terminal_dataset.print_raft(report)


@app.command()
def synth(
    out: Annotated[Path, typer.Option(help="File for the pairs (.jsonl).")],
    count: Annotated[int, typer.Option(min=1, help="Pairs to write.")],
    model: _Model = None,
    generator: Annotated[str | None, typer.Option(
        metavar="URL", help="OpenAI-compatible server whose model writes instead.")] = None,
    questions: _Questions = None,
    collection: _Collection = None,
    seed: Annotated[int | None, typer.Option(help="Order of the passages.")] = None,
    force: _Force = False,
    as_json: _Json = False,
    dry: _Dry = False,
) -> None:
    """Write question/answer pairs from the collection's passages, and keep those that hold."""
    resolved = settings.load({
        "model.name": model, "model.endpoint": generator, "finetune.seed": seed,
        "compare.questions": _text(questions), "ingest.collection": collection})
    if dry:
        dry_run.show(resolved, "model", "ingest", "ask", "finetune", "compare")
        return
    from phi3kit.dataset.synth import synth as write

    report = write(resolved.values, out, count=count, force=force)
    if as_json:
        _print_json(report)
    else:
        from phi3kit.report import terminal_dataset

        terminal_dataset.print_synth(report)
    if not report.pairs:
        raise typer.Exit(1)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _print_json(report: Any) -> None:
    from phi3kit.records import as_json

    typer.echo(json.dumps(as_json(report), ensure_ascii=False, indent=2))
