"""`phi3kit plan`: memory, time and cost before they are spent."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class MethodName(StrEnum):
    """How to train."""

    full = "full"
    lora = "lora"
    qlora = "qlora"


def plan(
    model: Annotated[str | None, typer.Option(
        help="Catalog name, folder with config.json, or a size such as 7B. Default: model.name "
             "of phi3kit.yaml.")] = None,
    method: Annotated[MethodName | None, typer.Option(
        help="How to train; all three when left out.")] = None,
    gpu: Annotated[str | None, typer.Option(
        metavar="NAME", help="Card to train on, such as 'RTX 4090': its memory, and its speed "
                             "for the hours.")] = None,
    gpu_memory: Annotated[float | None, typer.Option(
        min=0.1, help="Memory of your card in GB: does it fit, and what to change if not.")] = None,
    dataset: Annotated[Path | None, typer.Option(
        help="Training examples: adds the hours that they take. Default: finetune.dataset, when "
             "--gpu or --price asks for hours.")] = None,
    examples: Annotated[int | None, typer.Option(
        min=1, help="Instead of a dataset: how many examples there will be.")] = None,
    tokens_per_example: Annotated[int, typer.Option(
        min=1, help="With --examples: tokens of one, prompt and answer.")] = 300,
    epochs: Annotated[float | None, typer.Option(
        help="Passes over the examples. Default: finetune.epochs.")] = None,
    price: Annotated[float | None, typer.Option(
        min=0.0, metavar="PER_HOUR",
        help="What an hour of the card costs: adds what the training does.")] = None,
    context: Annotated[int, typer.Option(min=16, help="Tokens per row.")] = 2048,
    batch: Annotated[int, typer.Option(min=1, help="Rows per forward pass.")] = 1,
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of the adapter.")] = None,
    checkpointing: Annotated[bool | None, typer.Option(
        "--checkpointing/--no-checkpointing",
        help="Recompute activations, or keep them: faster, larger. Default: "
             "finetune.checkpointing.")] = None,
    as_json_: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the settings with their "
                                                            "sources and stop.")] = False,
) -> None:
    """Memory of training by part, how many GPUs of which size, how many hours and what cost."""
    from phi3kit import settings
    from phi3kit.cli import dry_run as printed
    from phi3kit.plan.gpus import find_gpu, of_memory
    from phi3kit.plan.memory import METHODS, plan_memory
    from phi3kit.plan.shapes import shape_of
    from phi3kit.plan.time import plan_times
    from phi3kit.records import DatasetSize, as_json
    from phi3kit.report.terminal_plan import print_plans, print_times

    if gpu is not None and gpu_memory is not None:
        raise typer.BadParameter("--gpu tells the memory; leave out --gpu-memory")
    if dataset is not None and examples is not None:
        raise typer.BadParameter("--examples stands in for --dataset; leave one out")
    resolved = settings.load({
        "model.name": model, "finetune.rank": rank, "finetune.epochs": epochs,
        "finetune.dataset": None if dataset is None else str(dataset),
        "finetune.checkpointing": checkpointing})
    if dry_run:
        printed.show(resolved, "model", "finetune")
        return
    values = resolved.values
    shape = shape_of(values.model.name)
    cards = (find_gpu(gpu),) if gpu else of_memory(gpu_memory) if gpu_memory else ()
    memory = float(cards[0].memory_gb) if gpu else gpu_memory
    size = None
    if examples is not None:
        size = DatasetSize(source="", examples=examples, tokens=examples * tokens_per_example,
                           longest=tokens_per_example, how="as given")
    elif values.finetune.dataset is not None and (dataset or gpu or price is not None):
        from phi3kit.dataset.size import dataset_size

        size = dataset_size(values)
    elif price is not None:
        raise typer.BadParameter("--price needs --dataset or --examples")
    plans = [plan_memory(shape, name, context=context, batch=batch, rank=values.finetune.rank,
                         checkpointing=values.finetune.checkpointing, gpu_memory_gb=memory)
             for name in METHODS if method is None or name == method.value]
    times = [] if size is None else plan_times(
        shape, [item.method for item in plans], size, values.finetune, gpus=cards,
        most_tokens=context * batch, price=price)
    if as_json_:
        found = [as_json(item) for item in plans]
        for item, time in zip(found, times, strict=False):
            item |= {"dataset": as_json(size), "time": as_json(time)}
        typer.echo(json.dumps(found if method is None else found[0], indent=2))
    else:
        print_plans(plans, memory, card=cards[0].name if gpu else "")
        if size is not None:
            print_times(times, plans, size, price)
    if memory is not None and not any(item.fits for item in plans):
        raise typer.Exit(3)
