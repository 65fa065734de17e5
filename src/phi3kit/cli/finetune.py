"""`phi3kit finetune`: a LoRA or QLoRA adapter from examples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def finetune(
    dataset: Annotated[Path | None, typer.Option(help="Examples: .jsonl, .json or .csv.")] = None,
    model: Annotated[str | None, typer.Option(help="Base: catalog name, hub id or folder.")] = None,
    qlora: Annotated[bool | None, typer.Option("--qlora/--no-qlora",
                                               help="Base in 4-bit NF4.")] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of the adapter.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the examples.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    passages: Annotated[float | None, typer.Option(
        metavar="SHARE", help="Share of the examples that carry retrieved passages, 0 to 1.")] = (
        None),
    checkpointing: Annotated[bool | None, typer.Option(
        "--checkpointing/--no-checkpointing",
        help="Recompute activations: a fraction of the memory, slower steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and order.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train anew even if this very run was "
                                                        "made before.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the settings with their "
                                                            "sources and stop.")] = False,
) -> None:
    """Train an adapter on example answers: the model's own chat template, loss on answers only."""
    from phi3kit import settings
    from phi3kit.cli import dry_run as printed

    resolved = settings.load({
        "finetune.dataset": None if dataset is None else str(dataset), "model.name": model,
        "finetune.qlora": qlora, "finetune.rank": rank, "finetune.epochs": epochs,
        "finetune.learning_rate": learning_rate, "finetune.passages": passages,
        "finetune.checkpointing": checkpointing, "finetune.seed": seed,
    })
    if dry_run:
        printed.show(resolved, "model", "ingest", "ask", "finetune", "runs")
        return
    from phi3kit.finetune import train

    report = train.finetune(resolved.values, resolved, fresh=fresh)
    if json:
        import json as encoder

        from phi3kit.records import as_json

        typer.echo(encoder.dumps(as_json(report), ensure_ascii=False))
        return
    from phi3kit.report.terminal_train import print_train

    print_train(report)
