"""`phi3kit plan`: memory before it is spent."""

from __future__ import annotations

import json
from enum import StrEnum
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
    gpu_memory: Annotated[float | None, typer.Option(
        min=0.1, help="Memory of your card in GB: does it fit, and what to change if not.")] = None,
    context: Annotated[int, typer.Option(min=16, help="Tokens per row.")] = 2048,
    batch: Annotated[int, typer.Option(min=1, help="Rows per forward pass.")] = 1,
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of the adapter.")] = None,
    checkpointing: Annotated[bool | None, typer.Option(
        "--checkpointing/--no-checkpointing",
        help="Recompute activations, or keep them: faster, larger. Default: "
             "finetune.checkpointing.")] = None,
    as_json_: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Memory of training by part, and how many GPUs of which size it takes."""
    from phi3kit import settings
    from phi3kit.plan.memory import METHODS, plan_memory
    from phi3kit.plan.shapes import shape_of
    from phi3kit.records import as_json
    from phi3kit.report.terminal_plan import print_plans

    values = settings.load({"model.name": model, "finetune.rank": rank,
                            "finetune.checkpointing": checkpointing}).values
    shape = shape_of(values.model.name)
    plans = [plan_memory(shape, name, context=context, batch=batch, rank=values.finetune.rank,
                         checkpointing=values.finetune.checkpointing,
                         gpu_memory_gb=gpu_memory)
             for name in METHODS if method is None or name == method.value]
    if as_json_:
        found = [as_json(item) for item in plans]
        typer.echo(json.dumps(found if method is None else found[0], indent=2))
    else:
        print_plans(plans, gpu_memory)
    if any(item.fits for item in plans) or gpu_memory is None:
        return
    raise typer.Exit(3)
