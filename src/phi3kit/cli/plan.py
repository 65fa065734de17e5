"""`phi3kit plan`: memory, time and cost before they are spent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from phi3kit.records import TrainingPlan


class MethodName(StrEnum):
    """How to train."""

    full = "full"
    lora = "lora"
    qlora = "qlora"


class DeviceName(StrEnum):
    """What to train on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def plan(
    what: Annotated[str | None, typer.Argument(
        metavar="[MODEL]", show_default=False,
        help="Catalog name, folder with config.json, hub id, or a size such as 7B. Default: "
             "model.name of phi3kit.yaml. With --calibration: the folder of runs.")] = None,
    model: Annotated[str | None, typer.Option(help="The same as MODEL.")] = None,
    method: Annotated[MethodName | None, typer.Option(
        help="How to train; all three when left out.")] = None,
    gpu: Annotated[str | None, typer.Option(
        metavar="NAME", help="Card to train on, such as 'RTX 4090': its memory, and its speed "
                             "for the hours.")] = None,
    gpu_memory: Annotated[float | None, typer.Option(
        min=0.1, help="Memory of your card in GB: does it fit, and what to change if not.")] = None,
    gpus: Annotated[int, typer.Option(
        min=1, max=1024, help="How many of these cards: do they hold it together, and what do "
                              "they take.")] = 1,
    device: Annotated[DeviceName | None, typer.Option(
        help="cpu: plan for the memory of a process. Default: a GPU, unless model.device is "
             "cpu.")] = None,
    dataset: Annotated[Path | None, typer.Option(
        help="Training examples: adds the hours that they take. Default: finetune.dataset, when "
             "--gpu or --price asks for hours.")] = None,
    examples: Annotated[int | None, typer.Option(
        min=1, help="Instead of a dataset: how many examples there will be.")] = None,
    tokens_per_example: Annotated[int | None, typer.Option(
        min=1, show_default="300",
        help="With --examples: tokens of one, prompt and answer.")] = None,
    epochs: Annotated[float | None, typer.Option(
        help="Passes over the examples. Default: finetune.epochs.")] = None,
    price: Annotated[float | None, typer.Option(
        min=0.0, metavar="PER_HOUR",
        help="What an hour of the card costs (with --device cpu: of the machine): adds what the "
             "training does.")] = None,
    context: Annotated[int | None, typer.Option(
        min=16, help="Tokens per row. Default: finetune.max_tokens.")] = None,
    batch: Annotated[int | None, typer.Option(
        min=1, help="Rows per forward pass. Default: as many as finetune.micro_batch_tokens and "
                    "finetune.batch_size let `finetune` take, on a card as many as it holds.")] = (
        None),
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of the adapter.")] = None,
    checkpointing: Annotated[bool | None, typer.Option(
        "--checkpointing/--no-checkpointing",
        help="Recompute activations, or keep them: faster, larger. Default: "
             "finetune.checkpointing.")] = None,
    calibration: Annotated[bool, typer.Option(
        "--calibration", help="Instead: what was planned for the training runs here, beside "
                              "what they took.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables in Markdown.")] = False,
    as_json_: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the settings with their "
                                                            "sources and stop.")] = False,
) -> None:
    """Memory of training by part, how many GPUs of which size, how many hours and what cost."""
    from phi3kit import settings
    from phi3kit.cli import dry_run as printed

    _refuse_both(what, model, "MODEL and --model name the same")
    _refuse_both(gpu, gpu_memory, "--gpu tells the memory; leave out --gpu-memory")
    _refuse_both(dataset, examples, "--examples stands in for --dataset; leave one out")
    _refuse_both(as_json_ or None, markdown or None, "one form: --json or --markdown")
    if calibration:
        _refuse_beside_calibration({
            "--model": model, "--method": method, "--gpu": gpu, "--gpu-memory": gpu_memory,
            "--gpus": gpus - 1 or None, "--device": device, "--dataset": dataset,
            "--examples": examples, "--tokens-per-example": tokens_per_example,
            "--epochs": epochs, "--price": price, "--context": context,
            "--batch": batch, "--rank": rank, "--checkpointing": checkpointing})
    if tokens_per_example is not None and examples is None:
        raise typer.BadParameter("--tokens-per-example needs --examples")
    resolved = settings.load({
        "model.name": None if calibration else what or model,
        "model.device": device and device.value, "finetune.rank": rank,
        "finetune.epochs": epochs, "finetune.dataset": dataset and str(dataset),
        "finetune.checkpointing": checkpointing, "finetune.max_tokens": context})
    if dry_run:
        printed.show(resolved, "model", "finetune")
        return
    if calibration:
        _calibrate(Path(what or resolved.values.runs), as_json_, markdown)
        return
    if price is not None and examples is None and resolved.values.finetune.dataset is None:
        raise typer.BadParameter("--price needs --dataset or --examples")
    from phi3kit.finetune.ahead import TOKENS_PER_EXAMPLE, plan_training
    from phi3kit.plan.step import METHODS

    found = plan_training(
        resolved.values, methods=[name for name in METHODS if method in (None, name)], gpu=gpu,
        gpu_memory=gpu_memory, gpus=gpus, examples=examples,
        tokens_per_example=tokens_per_example or TOKENS_PER_EXAMPLE,
        hours=dataset is not None, price=price, batch=batch)
    _tell(found, as_json_, markdown, one=method is not None)
    if found.nothing_fits:
        raise typer.Exit(3)


def _refuse_both(one: object, other: object, why: str) -> None:
    if one is not None and other is not None:
        raise typer.BadParameter(why)


def _refuse_beside_calibration(others: Mapping[str, object]) -> None:
    for flag, value in others.items():
        _refuse_both(value, True, f"--calibration shows runs as they were made; leave out {flag}")


def _tell(found: TrainingPlan, as_json_: bool, markdown: bool, *, one: bool) -> None:
    from phi3kit.records import as_json
    from phi3kit.report.markdown_plan import plan_markdown
    from phi3kit.report.terminal_plan import print_plan

    if not as_json_:
        typer.echo(plan_markdown(found)) if markdown else print_plan(found)
        return
    plans = [as_json(item) for item in found.plans]
    for item, time in zip(plans, found.times, strict=False):
        item |= {"dataset": as_json(found.dataset), "time": as_json(time)}
    typer.echo(json.dumps(plans[0] if one else plans, indent=2))


def _calibrate(root: Path, as_json_: bool, markdown: bool) -> None:
    from phi3kit.finetune.calibration import calibrate
    from phi3kit.records import as_json
    from phi3kit.report.markdown_plan import calibration_markdown
    from phi3kit.report.terminal_plan import print_calibration

    found = calibrate(root)
    if as_json_:
        typer.echo(json.dumps(as_json(found), indent=2))
    elif markdown:
        typer.echo(calibration_markdown(found))
    else:
        print_calibration(found)
    if found.skipped:
        raise typer.Exit(1)
