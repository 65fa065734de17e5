"""The plan against what training runs took: memory and time, run by run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from phi3kit import runs
from phi3kit.dataset.examples import read_examples
from phi3kit.dataset.size import row_lengths
from phi3kit.errors import ModelError, Phi3kitError, RunError
from phi3kit.finetune.methods import computes_in
from phi3kit.finetune.predicted import planned_anew, predicted
from phi3kit.plan.shapes import shape_of
from phi3kit.records import Calibration, CalibrationRow, Failure, TrainReport
from phi3kit.settings import Settings, recorded


def calibrate(root: Path) -> Calibration:
    """Compare each finished training run under `root` with what `plan` says of it today.

    A run keeps what its plan needs, so neither its dataset nor, in the end, its model has to be
    here: without the model's shape, what was planned when it was trained stands. Runs of before
    that are planned from their settings and their dataset.

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
        except (Phi3kitError, msgspec.ValidationError, KeyError, TypeError, AttributeError,
                ZeroDivisionError) as error:
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
    report = msgspec.convert(state["result"], TrainReport)
    if report.planned is None:
        settings = _settings(path, state)
        device = _device(settings, state)
        dtype = computes_in(settings.model.dtype, device, full=settings.finetune.full)
        return replace(predicted(report, settings, _lengths(settings, state), device=device,
                                 dtype=dtype), run=str(path))
    kept = replace(report.planned, run=str(path), peak_bytes=report.peak_memory_bytes,
                   seconds=report.seconds)
    try:
        shape = shape_of(kept.model)
    except ModelError:
        return kept  # a folder that is no longer there
    return planned_anew(kept, shape)


def _settings(path: Path, state: Mapping[str, Any]) -> Settings:
    dataset = recorded.flat(state).get("finetune.dataset")
    return recorded.read(state, {
        "finetune.dataset": str(runs.recorded_path(path, state, dataset))} if dataset else {})


def _device(settings: Settings, state: Mapping[str, Any]) -> str:
    """Where the run computed; "auto" is resolved by its torch, or by this very machine."""
    from phi3kit.models.hardware import pick_device

    wanted = settings.model.device
    if wanted != "auto":
        return wanted
    if state["versions"].get("torch", "").endswith("+cpu"):
        return "cpu"
    here = runs.machine()
    if state["machine"] == {key: here.get(key) for key in state["machine"]}:
        return pick_device(wanted)
    raise RunError("made on another machine, and where it computed is not recorded")


def _lengths(settings: Settings, state: Mapping[str, Any]) -> Sequence[int]:
    path = Path(settings.finetune.dataset or "")
    if read_examples(path).sha256 != state["inputs"]["dataset"]:
        raise RunError(f"{path} is not the dataset that it was made from any more")
    return row_lengths(settings)[0]


def _farthest(errors: Sequence[float]) -> float | None:
    return max(errors, key=abs, default=None)
