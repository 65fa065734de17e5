"""What `plan` says of a training run, beside what the run took: kept with each run."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from phi3kit.errors import ModelError, SettingsError
from phi3kit.finetune.batches import micro_batches, padded_width
from phi3kit.finetune.lanes import MOST_LANES
from phi3kit.finetune.packing import packs
from phi3kit.finetune.processes import ALONE, Processes
from phi3kit.plan.cards import checkpoint_gathered, shared_out
from phi3kit.plan.gpus import Gpu, find_gpu
from phi3kit.plan.memory import parts_of
from phi3kit.plan.passes import ON_CPU
from phi3kit.plan.shapes import Shape, shape_of
from phi3kit.plan.step import Step
from phi3kit.plan.time import train_time
from phi3kit.records import CalibrationRow, TrainReport
from phi3kit.settings import FinetuneSettings, Settings

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded

_SHUFFLES = 20  # epochs that are drawn to find the fullest micro-batch
_MOST_ROWS = 200_000  # of all of them together: a second


def with_plan(report: TrainReport, settings: Settings, loaded: Loaded, lengths: Sequence[int],
              team: Processes) -> TrainReport:
    """The report with what was planned for its run; without, where `plan` knows no such shape.

    Args:
        report: of the finished run.
        settings: that it was made with.
        loaded: its model, for the device.
        lengths: tokens of each example that it was trained on.
        team: the processes that trained it.
    """
    card = ""
    if loaded.device == "cuda":
        import torch

        card = torch.cuda.get_device_name()
    try:
        row = predicted(report, settings, lengths, device=loaded.device, card=card,
                        processes=team.size, dtype=loaded.dtype)
    except ModelError:
        return report
    return replace(report, planned=row)


def predicted(report: TrainReport, settings: Settings, lengths: Sequence[int], *, device: str,
              dtype: str, card: str = "", processes: int = ALONE.size) -> CalibrationRow:
    """What `plan` says of a run, beside what the run took.

    Nothing that the run measured enters what is planned, but the number of its tokens into
    the time and their share of answers into full fine-tuning's loss.

    Args:
        report: of the finished run.
        lengths: tokens of each example.
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
    rows = [replace(blank, context=width, batch=count)
            for width, count in _passes(lengths, own, held, processes, device)]
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
        float32=row.float32))
    # A GPU's peak is what the tensors had, without context and fragmentation.
    held = sum(parts.values()) - (parts["overhead"] if row.device != "cpu" else 0)
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


def _passes(lengths: Sequence[int], own: FinetuneSettings, held: int, processes: int,
            device: str) -> set[tuple[int, int]]:
    """(width, rows) of the forward passes of some shuffled epochs, of up to `held` tokens.

    On a CPU rows lie end to end, and what is computed side by side counts together (see `lanes`).

    The order that the run drew is not drawn again: the fullest of many comes close to it.
    """
    rng = random.Random(own.seed)
    lanes = min(MOST_LANES, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
                else os.cpu_count() or 1)
    end_to_end = own.packing or (device == "cpu" and not own.dropout)
    order = list(lengths) if end_to_end else [padded_width(length) for length in lengths]
    found: set[tuple[int, int]] = set()
    for _ in range(max(1, min(_SHUFFLES, _MOST_ROWS // len(order)))):
        rng.shuffle(order)
        for start in range(0, len(order), own.batch_size):
            batch = order[start:start + own.batch_size]
            budget = held
            if processes > 1:  # as `Collator` does: one for each
                budget = min(budget, -(-sum(batch) // processes))
            if device == "cpu" and not own.dropout:
                found.add(_side_by_side(batch, budget, lanes=1 if own.full else lanes))
            elif own.packing:
                found |= {(padded_width(sum(batch[i] for i in group)), 1)
                          for group in packs(batch, budget)}
            else:
                found |= {(max(batch[i] for i in group), len(group))
                          for group in micro_batches(batch, budget)}
    return found


def _side_by_side(batch: Sequence[int], budget: int, *, lanes: int) -> tuple[int, int]:
    """(width, rows) that a step on a CPU holds: each lane's fullest, for it keeps what it had.

    Equal rows are told, as many tokens in all, of which each sees as many.
    """
    short = sum(length for length in batch if length <= budget // lanes)
    of_a_lane = short / lanes / max(1, -(-short // budget))
    long = [length for length in batch if length > budget // lanes]
    alone = max((sum(long[i] for i in group) for group in packs(long, budget)), default=0)
    tokens = max(alone, of_a_lane) + (lanes - 1) * of_a_lane
    seen = sum(length * length for length in batch) / sum(batch)
    count = max(1, round(tokens / seen))
    return math.ceil(tokens / count), count
