"""`compare`: every arm on the held-out questions, from settings to a verdict."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phi3kit import runs
from phi3kit.advise.base_model import other_size_note
from phi3kit.advise.prediction import DEFAULT_PATH, read_prediction
from phi3kit.compare.arms import (
    Bench,
    answer,
    assert_same,
    conditions,
    contestants,
    open_bench,
    ordered,
    with_index,
)
from phi3kit.compare.choice import with_choice
from phi3kit.compare.clusters import sharing_note
from phi3kit.compare.costs import measure_costs
from phi3kit.compare.freshness import measure_freshness
from phi3kit.compare.intervals import Method
from phi3kit.compare.judge import judge, open_judge
from phi3kit.compare.kept import read_kept
from phi3kit.compare.learning import measure_learning
from phi3kit.compare.losses import loss_curves
from phi3kit.compare.metrics import SIMILARITY
from phi3kit.compare.results import analyse, load_comparison, save
from phi3kit.compare.revised import with_revised
from phi3kit.compare.seeds import averaged
from phi3kit.compare.sheets import Sheet, Turn, general_sheet, held_out_sheet
from phi3kit.compare.similarity import open_embedder, with_similarity
from phi3kit.compare.subsets import curves
from phi3kit.compare.task import Task, inputs, prepare
from phi3kit.compare.usage import Meter
from phi3kit.errors import ModelError, Phi3kitError, RunError
from phi3kit.files import write_json
from phi3kit.progress import bar, note
from phi3kit.records import Arm, Comparison, Judged, Row
from phi3kit.settings import Resolved, Settings, recorded

__all__ = ["compare", "load_comparison"]

_CONDITIONS = "conditions.json"
# Whose figures the rows hold.
_SIMILARITY = "similarity.json"


def compare(settings: Settings, resolved: Resolved | None = None, *, fresh: bool = False,
            advice: Mapping[str, Any] | None = None) -> Comparison:
    """Answer the questions with every arm, score the answers, and say which arm wins.

    Answers are saved as they are made. The run folder is found again by what went in, so that
    an interrupted run goes on and a finished one is only analysed again: with another metric,
    level or seed no question is asked anew.

    Args:
        settings: `compare` says what is asked and how it is judged, `ask` how it is answered.
        resolved: the settings with their sources, for the record.
        fresh: throw away the answers of an earlier run with the same inputs.
        advice: what was advised before, as `advise --json` prints it; None: what the last
            `advise` in this folder predicted, if anything.

    Raises:
        SettingsError: no questions or no adapter given, or subsets larger than the examples.
        DataError: questions that cannot be read, or that stand among the training examples;
            examples that were changed, where a learning curve needs them.
        ModelError, StoreError: base, adapter or collection that cannot be opened.
        RunError: arms whose conditions differ; a run folder that another process is using.
    """
    started = time.monotonic()
    task = prepare(settings)
    curves(task)  # what cannot be trained on subsets is said before anything is asked
    for line in task.adapters.notes:
        note(line)
    if advice is None and Path(DEFAULT_PATH).is_file():
        advice = read_prediction(Path(DEFAULT_PATH))
    root, made_of = Path(settings.runs), inputs(task)
    # Before it is opened: what --fresh throws away may be another process's answers.
    with runs.held(runs.folder_of(root, "compare", made_of),
                   busy="another compare is at work in it", mend="Wait until it has finished"):
        record = recorded.record(settings, resolved)
        run = runs.open_run(root, "compare", made_of, fresh=fresh, settings=record)
        run.record_settings(record)  # metric, margin, gates, …: the answers are judged by these now
        return _run(task, run, advice, started)


def _run(task: Task, run: runs.Run, advice: Mapping[str, Any] | None,
         started: float) -> Comparison:
    try:
        return _measured(task, run, advice, started)
    except Phi3kitError as error:
        run.fail(str(error))
        raise


def _measured(task: Task, run: runs.Run, advice: Mapping[str, Any] | None,
              started: float) -> Comparison:
    held_out, general = held_out_sheet(task, run.path), general_sheet(task, run.path)
    wanted = len(held_out.turns()) * len(task.questions)
    reused = wanted - sum(map(len, held_out.missing().values()))
    if reused:
        note(f"{run.path}: {reused} of {wanted} answers are there already")
    sheets = [sheet for sheet in (held_out, general)
              if sheet is not None and any(sheet.missing().values())]
    if sheets:
        if (judging := open_judge(task.settings)) is not None:
            judging.probe()  # before the answers: they take long
        run.record_machine()
        _answer_missing(task, run, sheets)
    measured, embedder = _with_similarity(task, held_out.rows(), run.path)
    rows = held_out.rescored(measured)
    if embedder is not None:  # when its figures are in the rows, and not before
        write_json(run.path / _SIMILARITY, {"embedder": embedder})
    chosen = task.settings.compare
    # What is looked at beside the scores is the adapter that `ask` answers with.
    of_first = averaged(rows)
    judged, unjudged = _judged(task, of_first, run)
    comparison = analyse(
        rows, task.arms, chosen, run=run.path, advice=advice, judged=judged,
        conditions=_read_conditions(run.path) or {},
        notes=(*task.adapters.notes, *sharing_note(task.questions), *unjudged,
               *other_size_note(advice, task.settings.model)),
        general=general.rescored(general.rows()) if general else (),
        adapters=task.adapters.hashes())
    comparison = dataclasses.replace(comparison, loss=loss_curves(task.adapters.by_arm))
    save(comparison)
    comparison = with_revised(with_choice(dataclasses.replace(
        comparison, costs=measure_costs(task, of_first, run.path),
        freshness=measure_freshness(task, run.path, _read_conditions(run.path) or {}),
        learning=measure_learning(task, [row for row in rows if row.seed == 0], run.path,
                                  _read_conditions(run.path) or {}))))
    seconds = time.monotonic() - started
    run.finish({"verdict": comparison.verdict.sentence, "seconds": seconds})
    return dataclasses.replace(comparison, reused_rows=reused, seconds=seconds)


def _judged(task: Task, rows: Sequence[Row],
            run: runs.Run) -> tuple[tuple[Judged, ...], tuple[str, ...]]:
    """The judge's preferences, and what has to be known of them: it may not have answered.

    It decides nothing, so that the comparison stands without it.
    """
    chosen = task.settings.compare
    try:
        return judge(task.settings, rows, contestants(task.arms), run.path,
                     Method(chosen.confidence, chosen.resamples, chosen.seed)), ()
    except ModelError as error:
        said = (f"the judge gave no verdicts ({error.what}); compare asks it again when it is run "
                "again")
        note(f"{error}; {said}")
        return (), (said,)


def _with_similarity(task: Task, rows: list[Row], run: Path) -> tuple[list[Row], str | None]:
    """The rows with their similarity, and the embedder's fingerprint where it measured now.

    Figures that the same embedder measured before are good; another one's are not.
    """
    if not task.settings.compare.similarity:
        return rows, None
    embedder = open_embedder(task.settings)
    there = all(SIMILARITY in row.metrics for row in rows if row.gold and not row.error)
    if there and read_kept(run, _SIMILARITY).get("embedder") == embedder.fingerprint:
        return rows, None
    return with_similarity(rows, embedder), embedder.fingerprint


def _answer_missing(task: Task, run: runs.Run, sheets: Sequence[Sheet]) -> None:
    """Arm by arm, so that each adapter is put on once for all sheets."""
    meter = Meter(run.path)
    with meter.loading():
        bench = _open(task)
    meter.of(bench)
    shared = _read_conditions(run.path)
    for arm, seed in _turns(sheets):
        left = [(sheet, sheet.missing().get((arm, seed))) for sheet in sheets]
        if not any(questions for _, questions in left):
            continue
        now = conditions(bench, task.settings)
        if shared is None or (now["index"] and not shared.get("index")):
            # Arms that search nothing opened no index: the run's is known from here on.
            shared = {**(shared or now), "index": now["index"]}
            write_json(run.path / _CONDITIONS, shared)
        assert_same(with_index(now, shared), shared, arm)
        bench.adapters = task.adapters.of_seed(seed)
        for sheet, questions in left:
            if questions:
                with (bar(f"answering: {sheet.name}{arm}{_which(sheet, arm, seed)}",
                          len(questions)) as advance,
                      meter.watch(f"{sheet.name}{arm}", advance,
                                  asked=len(questions)) as counted):
                    answer(bench, arm, [question.question for question in questions],
                           sheet.keeper((arm, seed), questions, counted))


def _turns(sheets: Sequence[Sheet]) -> list[Turn]:
    """Every arm with each of its seeds, in the order of the arms."""
    turns = {turn for sheet in sheets for turn in sheet.turns()}
    return [(arm, seed) for arm in ordered([arm for arm, _ in turns])
            for seed in sorted(seed for other, seed in turns if other == arm)]


def _which(sheet: Sheet, arm: Arm, seed: int) -> str:
    """Which of an arm's adapters answers, where it has several."""
    count = sheet.seeds.get(arm, 1)
    return f", adapter {seed + 1} of {count}" if count > 1 else ""


def _open(task: Task) -> Bench:
    return open_bench(task.settings, task.arms, task.questions, task.adapters.by_arm)


def _read_conditions(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((path / _CONDITIONS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(f"{_CONDITIONS} cannot be read ({error})", where=str(path),
                       mend="Run compare again with --fresh") from error
    return found
