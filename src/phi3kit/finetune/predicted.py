"""What `plan` says of a training run, beside what the run took: kept with each run."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from phi3kit.errors import ModelError, SettingsError
from phi3kit.finetune.batches import padded_width, step_groups
from phi3kit.finetune.lanes import lanes_here
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
_MOST_ROWS = 200_000  # that are looked at: a second


def with_plan(report: TrainReport, settings: Settings, loaded: Loaded, lengths: Sequence[int],
              batches: Sequence[Sequence[int]], team: Processes) -> TrainReport:
    """The report with what was planned for its run; without, where `plan` knows no such shape.

    Args:
        report: of the finished run.
        settings: that it was made with.
        loaded: its model, for the device.
        lengths: tokens of each example that it was trained on.
        batches: the same of each optimizer step of this process, as they were drawn.
        team: the processes that trained it.
    """
    card = ""
    if loaded.device == "cuda":
        import torch

        card = torch.cuda.get_device_name()
    try:
        row = predicted(report, settings, lengths, batches, device=loaded.device, card=card,
                        processes=team.size, dtype=loaded.dtype)
    except ModelError:
        return report
    return replace(report, planned=row)


def predicted(report: TrainReport, settings: Settings, lengths: Sequence[int],
              batches: Sequence[Sequence[int]] = (), *, device: str, dtype: str, card: str = "",
              processes: int = ALONE.size) -> CalibrationRow:
    """What `plan` says of a run, beside what the run took.

    Of the run the fullest pass enters what is planned, the number of its tokens the time, and
    their share of answers full fine-tuning's loss; nothing that was measured does.

    Args:
        report: of the finished run.
        lengths: tokens of each example.
        batches: the same of each optimizer step; without, some epochs are drawn anew, the
            fullest of which comes close to that of many steps, and above that of a few.
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
    lanes = lanes_here(full=own.full, dropout=own.dropout) if device == "cpu" else 1
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
        float32=dtype == "float32", lanes=lanes)
    rows = [replace(blank, context=width, batch=count)
            for width, count in _passes(batches or _drawn(lengths, own), own, held, processes,
                                        lanes, device)]
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
        float32=row.float32, lanes=row.lanes))
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


def _drawn(lengths: Sequence[int], own: FinetuneSettings) -> Iterator[list[int]]:
    """The optimizer steps of some shuffled epochs, by their rows' lengths."""
    rng = random.Random(own.seed)
    order = list(lengths)
    for _ in range(max(1, min(_SHUFFLES, _MOST_ROWS // len(order)))):
        rng.shuffle(order)
        for start in range(0, len(order), own.batch_size):
            yield order[start:start + own.batch_size]


def _passes(batches: Iterable[Sequence[int]], own: FinetuneSettings, held: int, processes: int,
            lanes: int, device: str) -> set[tuple[int, int]]:
    """(width, rows) of what is computed at once in these steps, of up to `held` tokens."""
    packed = own.packing or (device == "cpu" and not own.dropout)
    found: set[tuple[int, int]] = set()
    for batch in itertools.islice(batches, _MOST_ROWS // own.batch_size + 1):
        widths = list(batch) if packed else [padded_width(length) for length in batch]
        groups = [[widths[at] for at in group] for group in step_groups(
            widths, held, room=max(1, held // lanes), lanes=lanes, processes=processes,
            packed=packed)]
        for rows in _at_once(groups, held, lanes):
            if device == "cpu" and packed:
                found.add(_equal_rows(rows))
            elif packed:  # attention sees all of it, masked
                found.add((padded_width(sum(rows)), 1))
            else:
                found.add((max(rows), len(rows)))
    return found


def _at_once(groups: Sequence[list[int]], held: int, lanes: int) -> Iterator[list[int]]:
    """The rows of each micro-batch, or of as many as there are lanes that begin together."""
    if lanes == 1:
        yield from groups
        return
    short = sorted((group for group in groups if sum(group) <= held // lanes), key=sum,
                   reverse=True)
    yield from (group for group in groups if sum(group) > held // lanes)
    if short:  # each lane begins with the fullest that is left
        yield [row for group in short[:lanes] for row in group]


def _equal_rows(rows: Sequence[int]) -> tuple[int, int]:
    """As many tokens in rows of one width, of which each token sees as many, as (width, rows)."""
    tokens = sum(rows)
    seen = sum(length * length for length in rows) / tokens
    count = max(1, round(tokens / seen))
    return math.ceil(tokens / count), count
