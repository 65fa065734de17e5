"""`phi3kit finetune`: an adapter, or a whole model, from examples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from phi3kit.finetune.preview import Preview
    from phi3kit.records import TrainReport
    from phi3kit.settings import Resolved

_SECTIONS = ("model", "ingest", "ask", "finetune", "compare", "runs")


def finetune(
    dataset: Annotated[Path | None, typer.Option(help="Examples: .jsonl, .json or .csv.")] = None,
    model: Annotated[str | None, typer.Option(help="Base: catalog name, hub id or folder.")] = None,
    qlora: Annotated[bool | None, typer.Option("--qlora/--no-qlora",
                                               help="Base in 4-bit NF4.")] = None,
    full: Annotated[bool | None, typer.Option("--full/--no-full",
                                              help="Train every weight, no adapter.")] = None,
    dora: Annotated[bool | None, typer.Option("--dora/--no-dora",
                                              help="Length and direction apart.")] = None,
    rslora: Annotated[bool | None, typer.Option("--rslora/--no-rslora",
                                                help="Scale by the rank's root.")] = None,
    init: Annotated[str | None, typer.Option(
        help="Where the adapter begins: default, pissa or loftq.")] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of the adapter.")] = None,
    alpha: Annotated[int | None, typer.Option(help="Scale, divided by the rank.")] = None,
    dropout: Annotated[float | None, typer.Option(help="On the adapter's input.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the examples.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples per optimizer step.")] = None,
    micro_batch_tokens: Annotated[int | None, typer.Option(
        help="Tokens that one forward pass may hold. Default: on a CPU 1,024 or a long row for "
             "each core, on a CUDA card what its free memory holds.")] = None,
    packing: Annotated[bool | None, typer.Option(
        "--packing/--no-packing", help="Examples end to end instead of padded.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest example.")] = None,
    passages: Annotated[float | None, typer.Option(
        metavar="SHARE", help="Share of the examples that carry retrieved passages, 0 to 1.")] = (
        None),
    checkpointing: Annotated[bool | None, typer.Option(
        "--checkpointing/--no-checkpointing",
        help="Recompute activations: a fraction of the memory, slower steps.")] = None,
    shard: Annotated[bool | None, typer.Option(
        "--shard/--no-shard", help="Several processes: each holds a share of the base, "
                                      "with --full of all that trains.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and order.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    dtype: Annotated[str | None, typer.Option(
        help="Arithmetic: auto, bfloat16, float16 or float32.")] = None,
    questions: Annotated[Path | None, typer.Option(
        help="Held-out questions: examples that ask one are left out.")] = None,
    report_to: Annotated[str | None, typer.Option(
        help="Tracker: none, tensorboard, wandb or mlflow.")] = None,
    resume: Annotated[Path | None, typer.Option(
        metavar="RUN", help="Go on with this run folder, and with no other: refused when "
                            "settings or data have changed.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train anew even if this very run was "
                                                        "made before.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop before training when an example "
                                                          "would be left out or cut, is close to "
                                                          "a held-out question or contradicts "
                                                          "another.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the settings with their "
                                                            "sources, look at the model without "
                                                            "its weights, and stop.")] = False,
) -> None:
    """Train an adapter on example answers: the model's own chat template, loss on answers only.

    Several GPUs: torchrun --nproc-per-node 2 -m phi3kit finetune …
    """
    from phi3kit import settings

    resolved = settings.load({
        "finetune.dataset": None if dataset is None else str(dataset), "model.name": model,
        "finetune.qlora": qlora, "finetune.full": full, "finetune.dora": dora,
        "finetune.rslora": rslora, "finetune.init": init, "finetune.report_to": report_to,
        "finetune.rank": rank, "finetune.epochs": epochs,
        "finetune.alpha": alpha, "finetune.dropout": dropout,
        "finetune.batch_size": batch_size, "finetune.max_tokens": max_tokens,
        "finetune.packing": packing, "finetune.micro_batch_tokens": micro_batch_tokens,
        "model.device": device, "model.dtype": dtype,
        "compare.questions": None if questions is None else str(questions),
        "finetune.learning_rate": learning_rate, "finetune.passages": passages,
        "finetune.checkpointing": checkpointing, "finetune.shard": shard,
        "finetune.seed": seed,
    })
    if fresh and resume is not None:
        raise typer.BadParameter("--fresh throws away what --resume goes on with")
    if dry_run:
        from phi3kit.finetune.preview import preview

        raise typer.Exit(_show(resolved, preview(resolved.values, strict=strict, resume=resume),
                               json=json))
    from phi3kit.finetune import processes, train

    report = train.finetune(resolved.values, resolved, fresh=fresh, resume=resume, strict=strict)
    if not processes.launched().leads:
        return  # the first process of several tells it
    _tell(report, resolved, json=json)


def _tell(report: TrainReport, resolved: Resolved, *, json: bool) -> None:
    if json:
        import json as encoder

        from phi3kit.records import as_json

        typer.echo(encoder.dumps(as_json(report), ensure_ascii=False))
        return
    from phi3kit.report.terminal_train import print_train

    named = resolved.sources["model.name"] == "flag"
    print_train(report, base=resolved.values.model.name if named else "")


def _show(resolved: Resolved, found: Preview, *, json: bool) -> int:
    """Print what a training would be made with; 1 when it would stop before it begins."""
    from phi3kit.cli import dry_run as printed
    from phi3kit.records import as_json
    from phi3kit.report.preflight_text import print_preflight

    held = found.forward_pass
    if json:
        printed.show_json(resolved, *_SECTIONS, preflight=as_json(found.model), forward_pass=(
            None if held is None else {"tokens": held.tokens, "why": held.why}))
    else:
        printed.show(resolved, *_SECTIONS, null={"finetune.dataset": "training needs one"} | (
            {} if held is None else {
                "finetune.micro_batch_tokens": f"{held.tokens:,} tokens; {held.why}"}))
        print_preflight(found.model)
    return int(bool(found.model.problems))
