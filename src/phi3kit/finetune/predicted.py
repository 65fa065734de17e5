"""What `plan` says of a training run, beside what the run took: kept with each run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from phi3kit.errors import ModelError, SettingsError
from phi3kit.finetune.lanes import lanes_here
from phi3kit.finetune.passes_made import AtOnce, drawn
from phi3kit.finetune.processes import ALONE, Processes
from phi3kit.plan.cards import checkpoint_gathered, shared_out
from phi3kit.plan.gpus import Gpu, find_gpu
from phi3kit.plan.memory import parts_of
from phi3kit.plan.passes import ON_CPU
from phi3kit.plan.shapes import Shape, shape_of
from phi3kit.plan.step import Step
from phi3kit.plan.time import train_time
from phi3kit.records import CalibrationRow, TrainReport
from phi3kit.settings import Settings

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded


def with_plan(report: TrainReport, settings: Settings, loaded: Loaded, lengths: Sequence[int],
              passes: Collection[AtOnce], team: Processes) -> TrainReport:
    """The report with what was planned for its run; without, where `plan` knows no such shape.

    Args:
        report: of the finished run.
        settings: that it was made with.
        loaded: its model, for the device.
        lengths: tokens of each example that it was trained on.
        passes: what this process computed at once.
        team: the processes that trained it.
    """
    card = ""
    if loaded.device == "cuda":
        import torch

        card = torch.cuda.get_device_name()
    try:
        row = predicted(report, settings, lengths, passes, device=loaded.device, card=card,
                        processes=team.size, dtype=loaded.dtype)
    except ModelError:
        return report
    return replace(report, planned=row)


def predicted(report: TrainReport, settings: Settings, lengths: Sequence[int],
              passes: Collection[AtOnce] = (), *, device: str, dtype: str, card: str = "",
              processes: int = ALONE.size) -> CalibrationRow:
    """What `plan` says of a run, beside what the run took.

    From the run come the fullest pass, the number of its tokens for the time, and the share of
    answers for full fine-tuning's loss; nothing of what is compared does.

    Args:
        report: of the finished run.
        lengths: tokens of each example.
        passes: what it computed at once; without, some epochs are drawn.
        device: "cpu", "cuda" or "mps".
        dtype: what it computed in.
        card: the GPU's name, as its driver gives it.
        processes: that trained it together.

    Raises:
        ModelError: the model's shape is not known.
    """
    own = settings.finetune
    shape = shape_of(settings.model.name, settings.model.revision)
    mean = max(1, round(sum(lengths) / len(lengths)))
    # Runs of before it was reported have it among their settings.
    held = report.micro_batch_tokens or own.micro_batch_tokens or ON_CPU
    blank = CalibrationRow(
        run=report.run, model=settings.model.name, method=report.method, rank=own.rank,
        context=1, batch=1, checkpointing=own.checkpointing, device=device, planned_bytes=0,
        peak_bytes=report.peak_memory_bytes, memory_error=0.0, planned_seconds=None,
        seconds=report.seconds, time_error=None,
        variants=(*report.variants, *(["dropout"] if own.dropout else []),
                  *(["packing"] if own.packing else [])), card=card,
        processes=processes, sharded=own.shard and processes > 1,
        answers=report.trained_tokens / max(1, report.tokens), tokens=report.tokens, row=mean,
        pass_tokens=min(held, max(1, mean * own.batch_size // processes)),
        float32=dtype == "float32")
    made = passes or drawn(
        lengths, own, held, processes=processes, device=device,
        lanes=lanes_here(full=own.full, dropout=own.dropout) if device == "cpu" else 1)
    rows = [replace(blank, context=one.width, batch=one.rows, lanes=one.lanes) for one in made]
    return planned_anew(max(rows, key=lambda row: _memory(shape, row)), shape)


def planned_anew(row: CalibrationRow, shape: Shape) -> CalibrationRow:
    """The row with what today's plan says of the same pass, tokens and machine."""
    planned, seconds = _memory(shape, row), _seconds(shape, row)
    return replace(
        row, planned_bytes=planned, memory_error=planned / row.peak_bytes - 1,
        planned_seconds=seconds,
        time_error=seconds / row.seconds - 1 if seconds is not None and row.seconds else None)


def _memory(shape: Shape, row: CalibrationRow) -> int:
    """Bytes of one process, the first.

    On a CPU a checkpoint of shares is gathered in the same memory. It comes on top of the step's:
    what the step has freed the allocator keeps, in blocks of other sizes.
    """
    parts = parts_of(shape, row.method, Step(
        context=row.context, batch=row.batch, rank=row.rank, checkpointing=row.checkpointing,
        answers=row.answers, place="cpu" if row.device == "cpu" else "gpu",
        float32=row.float32, lanes=row.lanes, shared=row.sharded))
    held = sum(parts.values())
    if row.device != "cpu":  # the peak there is what torch's allocator gave to tensors,
        held -= parts["overhead"]
        if row.device == "cuda" and row.method == "qlora":  # and paged moments are not of it
            held -= parts["optimizer"]
    if row.sharded:
        held -= shared_out(shape, row.method, row.processes, float32=row.float32)
        if row.method == "full" and row.device == "cpu":
            held += checkpoint_gathered(shape)
    return held


def _seconds(shape: Shape, row: CalibrationRow) -> float | None:
    """As expected; None where nothing predicts them."""
    gpus: tuple[Gpu, ...] = ()
    if row.device != "cpu":
        try:
            gpus = (find_gpu(row.card),)
        except SettingsError:
            return None  # no figures for this card
    time = train_time(shape, row.method, tokens=row.tokens, context=row.row, gpus=gpus,
                      checkpointing=row.checkpointing, pass_tokens=row.pass_tokens,
                      float32=row.float32)
    return 3600 * time.expected / row.processes
