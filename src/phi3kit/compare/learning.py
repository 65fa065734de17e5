"""The learning curve: adapters tuned on nested subsets of the examples, and what they answer.

Every subset is trained on by `finetune` with the settings of the adapter that is compared, the
same number of epochs and so fewer steps, into a run folder of its own: a second curve finds it
again, and an interrupted one goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.compare.arms import answer, assert_same, conditions, open_bench, with_index
from phi3kit.compare.extrapolate import SIZES, extrapolate
from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.kept import LEARNING
from phi3kit.compare.rows import RowFile
from phi3kit.compare.sheets import Sheet
from phi3kit.compare.subsets import Curve, curves, subset, training_settings, write_subset
from phi3kit.errors import RunError
from phi3kit.files import sha256_file, write_json
from phi3kit.progress import bar, note
from phi3kit.records import CurvePoint, Extrapolation, LearningCurve, Row, TrainReport, as_json

if TYPE_CHECKING:
    from phi3kit.compare.task import Task
    from phi3kit.settings import Settings

_FOLDER = "learning"


@dataclass(frozen=True, slots=True)
class _Size:
    """An adapter of one subset, and the sheet that its arm's answers go to."""

    adapter: Path
    report: TrainReport
    sheet: Sheet


@dataclass(frozen=True, slots=True)
class _Measured:
    """The answers after so many examples."""

    examples: int
    rows: Sequence[Row]
    run: str
    seconds: float


def measure_learning(task: Task, rows: Sequence[Row], run: Path,
                     shared: Mapping[str, Any]) -> LearningCurve | None:
    """Train, ask, and write the curve into the run folder; None where none is wanted.

    An arm with several training seeds has the curve of its first one.

    Args:
        task: its settings say how many examples the subsets have.
        rows: scored answers of all arms, of the first seed: those with all examples are each
            curve's last point.
        run: the run folder; answers of every size are saved in it as they are made.
        shared: the conditions that the arms had.

    Raises:
        SettingsError, DataError, RunError: as `curves`, `finetune`, or other conditions than
            the arms had.
        ModelError, StoreError: base, adapter or collection that cannot be opened.
    """
    wanted = task.settings.compare
    found = curves(task)
    if not found:
        (run / LEARNING).unlink(missing_ok=True)
        return None
    sizes = {curve.arm: [_train(task, curve, size, run) for size in curve.sizes]
             for curve in found}
    _ask(task, [size for each in sizes.values() for size in each], shared)
    method = Method(wanted.confidence, wanted.resamples, wanted.seed)
    points: list[CurvePoint] = []
    more: list[Extrapolation] = []
    for curve in found:
        measured = [*map(_measured, sizes[curve.arm]), _whole(curve, rows)]
        points += [_point(curve, each, wanted.metric, method) for each in measured]
        if len(measured) >= SIZES:
            more.append(_extrapolated(curve, measured, wanted.metric, method))
    record = LearningCurve(wanted.metric, tuple(points), tuple(more))
    write_json(run / LEARNING, {"record": as_json(record)})
    return record


def _train(task: Task, curve: Curve, size: int, run: Path) -> _Size:
    """Train on a subset, or find its run again."""
    from phi3kit.finetune.train import finetune
    from phi3kit.models.adapters import adapter_folder

    note(f"learning curve: {curve.arm} on {size} of {len(curve.examples)} examples")
    data = write_subset(subset(curve, size), run / _FOLDER)
    settings = training_settings(task.settings, curve.state, data)
    _assert_same_index(settings, curve)
    report = finetune(settings)
    adapter = adapter_folder(report.run)
    key = sha256_file(adapter / "adapter_model.safetensors")[:12]
    return _Size(adapter, report, Sheet(
        f"after {size} examples, ", (curve.arm,), task.questions,
        RowFile(run / _FOLDER / f"rows-{curve.arm}-{size}-{key}.jsonl"), task.formats))


def _assert_same_index(settings: Settings, curve: Curve) -> None:
    """Passages in training have to be those that the whole adapter was shown."""
    wanted = curve.state["inputs"].get("index")
    if wanted is None:
        return
    from phi3kit.rag.retrieve import open_retriever

    if open_retriever(settings).fingerprint != wanted:
        raise RunError("trained with passages of another collection, or found otherwise, than "
                       "these settings find", where=str(curve.adapter.parent),
                       mend="Train it anew, or leave out --learning-curve")


def _ask(task: Task, sizes: Sequence[_Size], shared: Mapping[str, Any]) -> None:
    """Ask what was not asked yet; the base is loaded once and adapters are switched."""
    left = [size for size in sizes if any(size.sheet.missing().values())]
    if not left:
        return
    arms = tuple(dict.fromkeys(arm for size in left for arm in size.sheet.arms))
    bench = open_bench(task.settings, arms, task.questions, {arms[0]: left[0].adapter})
    for size in left:
        (turn, questions), = size.sheet.missing().items()
        arm, _ = turn
        bench.adapters = {arm: size.adapter}
        assert_same(with_index(conditions(bench, task.settings), shared), shared, arm)
        with bar(f"answering: {size.sheet.name}{arm}", len(questions)) as advance:
            answer(bench, arm, [question.question for question in questions],
                   size.sheet.keeper(turn, questions, advance))


def _measured(size: _Size) -> _Measured:
    rows = size.sheet.rescored(size.sheet.rows())
    return _Measured(size.report.examples, rows, size.report.run, size.report.seconds)


def _whole(curve: Curve, rows: Sequence[Row]) -> _Measured:
    """The arm itself."""
    seconds = (curve.state.get("result") or {}).get("seconds", 0.0)
    return _Measured(len(curve.examples), [row for row in rows if row.arm == curve.arm],
                     str(curve.adapter.parent), float(seconds))


def _point(curve: Curve, measured: _Measured, metric: str, method: Method) -> CurvePoint:
    values = [(row.cluster, row.metrics[metric]) for row in measured.rows]
    return CurvePoint(curve.arm, measured.examples, interval(values, method), measured.run,
                      measured.seconds)


def _extrapolated(curve: Curve, measured: Sequence[_Measured], metric: str,
                  method: Method) -> Extrapolation:
    return extrapolate(
        curve.arm, [each.examples for each in measured],
        [[row.metrics[metric] for row in each.rows] for each in measured],
        [row.cluster for row in measured[-1].rows], method)
