"""The plan against what training runs took: memory and time, run by run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from phi3kit import runs
from phi3kit.dataset.examples import read_examples
from phi3kit.dataset.size import row_lengths
from phi3kit.errors import Phi3kitError, RunError
from phi3kit.finetune.batches import micro_batches, padded_width
from phi3kit.plan.memory import parts_of
from phi3kit.plan.shapes import Shape, shape_of
from phi3kit.plan.step import Step
from phi3kit.plan.time import train_time
from phi3kit.records import Calibration, CalibrationRow, Failure, TrainReport
from phi3kit.settings import FinetuneSettings, Settings

_SHUFFLES = 20  # epochs that are drawn to find the fullest micro-batch


def calibrate(root: Path) -> Calibration:
    """Compare each finished training run under `root` with what `plan` says of its settings.

    Nothing that the run measured enters what is planned, but the number of its tokens into
    the time and their share of answers into full fine-tuning's loss.

    Args:
        root: the folder of run folders, or one run folder.

    Raises:
        RunError: there is no such folder, or no training run in it.
    """
    rows, skipped = [], []
    found = False
    for path, state in _training_runs(root):
        found = True
        try:
            rows.append(_row(path, state))
        except (Phi3kitError, msgspec.ValidationError, KeyError, TypeError) as error:
            why = error.what if isinstance(error, Phi3kitError) else f"damaged record ({error})"
            skipped.append(Failure(str(path), why))
    if not found:
        raise RunError("no finished training run", where=str(root),
                       mend="Run `phi3kit finetune` first, or name the folder of its runs")
    return Calibration(
        rows=tuple(rows), skipped=tuple(skipped),
        largest_memory_error=_farthest([row.memory_error for row in rows]),
        largest_time_error=_farthest(
            [row.time_error for row in rows if row.time_error is not None]))


def _training_runs(root: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    folders = [root] if (root / "run.json").is_file() else sorted(
        path.parent for path in root.glob("*/run.json"))
    for folder in folders:
        try:
            state = runs.read_run(folder)
        except RunError:
            continue  # not ours, or cut off: other commands tell
        if state.get("kind") == "finetune" and state["status"] == "complete":
            yield folder, state


def _row(path: Path, state: Mapping[str, Any]) -> CalibrationRow:
    settings = _settings(state)
    own = settings.finetune
    report = msgspec.convert(state["result"], TrainReport)
    _refuse_uncounted(report, own)
    device = _device(settings, state)
    shape = shape_of(settings.model.name)
    lengths = _lengths(settings, state)
    step = _fullest(shape, report, own, lengths, device)
    parts = parts_of(shape, report.method, step)
    # A GPU's peak is what the tensors had, without context and fragmentation.
    planned = sum(parts.values()) - (parts["overhead"] if device != "cpu" else 0)
    seconds = None
    if device == "cpu":
        seconds = 3600 * train_time(
            shape, report.method, tokens=report.tokens, checkpointing=own.checkpointing,
            context=max(1, round(sum(lengths) / len(lengths)))).expected
    return CalibrationRow(
        run=str(path), model=settings.model.name, method=report.method, rank=own.rank,
        context=step.context, batch=step.batch, checkpointing=own.checkpointing, device=device,
        planned_bytes=planned, peak_bytes=report.peak_memory_bytes,
        memory_error=planned / report.peak_memory_bytes - 1,
        planned_seconds=seconds, seconds=report.seconds,
        time_error=None if seconds is None or not report.seconds else seconds / report.seconds - 1)


def _settings(state: Mapping[str, Any]) -> Settings:
    recorded = state["settings"]
    if "values" in recorded:  # a run that a program started, without sources
        return msgspec.convert(recorded["values"], Settings)
    tree: dict[str, Any] = {}
    for key, entry in recorded.items():
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = entry["value"]
    return msgspec.convert(tree, Settings)


def _refuse_uncounted(report: TrainReport, own: FinetuneSettings) -> None:
    """What `plan` has no term for."""
    also = [*report.variants, *(["dropout"] if own.dropout else [])]
    if also:
        raise RunError(f"{' and '.join(also)}: the plan is for plain adapters")


def _device(settings: Settings, state: Mapping[str, Any]) -> str:
    """Where the run computed; "auto" is resolved by its torch, or by this very machine."""
    from phi3kit.models.hardware import pick_device

    wanted = settings.model.device
    if wanted != "auto":
        return wanted
    if state["versions"].get("torch", "").endswith("+cpu"):
        return "cpu"
    if state["machine"] == runs.machine():
        return pick_device(wanted)
    raise RunError("made on another machine, and where it computed is not recorded")


def _lengths(settings: Settings, state: Mapping[str, Any]) -> Sequence[int]:
    path = Path(settings.finetune.dataset or "")
    if read_examples(path).sha256 != state["inputs"]["dataset"]:
        raise RunError(f"{path} is not the dataset that it was made from any more")
    return row_lengths(settings)[0]


def _fullest(shape: Shape, report: TrainReport, own: FinetuneSettings, lengths: Sequence[int],
             device: str) -> Step:
    """The step with the micro-batch that takes most, over some shuffled epochs.

    The order that the run drew is not drawn again: the fullest of many comes close to it.
    """
    rng = random.Random(own.seed)
    order = [padded_width(length) for length in lengths]
    shapes = set()
    for _ in range(_SHUFFLES):
        rng.shuffle(order)
        for start in range(0, len(order), own.batch_size):
            batch = order[start:start + own.batch_size]
            for group in micro_batches(batch, own.micro_batch_tokens):
                shapes.add((max(batch[i] for i in group), len(group)))
    steps = [Step(context=width, batch=rows, rank=own.rank, checkpointing=own.checkpointing,
                  answers=report.trained_tokens / max(1, report.tokens),
                  place="cpu" if device == "cpu" else "gpu") for width, rows in shapes]
    return max(steps, key=lambda step: sum(parts_of(shape, report.method, step).values()))


def _farthest(errors: Sequence[float]) -> float | None:
    return max(errors, key=abs, default=None)
