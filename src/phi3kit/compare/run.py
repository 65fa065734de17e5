"""`compare`: every arm on the held-out questions, from settings to a verdict."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from phi3kit import runs
from phi3kit.advise.prediction import DEFAULT_PATH, read_prediction
from phi3kit.compare.arms import (
    RETRIEVING,
    TUNED,
    Bench,
    SharedPassages,
    answer,
    assert_same,
    conditions,
    ordered,
    prompt_fingerprint,
)
from phi3kit.compare.leakage import refuse_leakage
from phi3kit.compare.questions import read_questions
from phi3kit.compare.results import ROWS, analyse, load_comparison, row_of, save, score
from phi3kit.compare.rows import RowFile
from phi3kit.errors import Phi3kitError, RunError, SettingsError
from phi3kit.files import sha256_file, write_json
from phi3kit.progress import Advance, bar, note
from phi3kit.records import Answer, Comparison, Option, Question
from phi3kit.settings import Resolved, Settings

__all__ = ["compare", "load_comparison"]

_CONDITIONS = "conditions.json"


@dataclass(frozen=True, slots=True)
class _Task:
    settings: Settings
    arms: tuple[Option, ...]
    questions: tuple[Question, ...]
    adapter: Path | None


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
        SettingsError: no questions or no adapter given.
        DataError: questions that cannot be read, or that stand among the training examples.
        ModelError, StoreError: base, adapter or collection that cannot be opened.
        RunError: arms whose conditions differ; a run folder that another process is using.
    """
    started = time.monotonic()
    task = _prepare(settings)
    if advice is None and Path(DEFAULT_PATH).is_file():
        advice = read_prediction(Path(DEFAULT_PATH))
    run = runs.open_run(Path(settings.runs), "compare", _inputs(task),
                        settings=_record_of(settings, resolved), fresh=fresh)
    try:
        with FileLock(run.path / ".lock", timeout=0):
            return _run(task, run, advice, started)
    except Timeout as error:
        raise RunError("another compare is at work in it", where=str(run.path),
                       mend="Wait until it has finished") from error


def _prepare(settings: Settings) -> _Task:
    chosen = settings.compare
    arms = ordered(chosen.arms)
    if len(arms) < 2:
        raise SettingsError("one arm alone cannot be compared", where="--arms",
                            mend="Name two or more of base, rag, finetune, both")
    if not chosen.questions:
        raise SettingsError("no held-out questions", where="compare.questions",
                            mend="Give them with --questions FILE")
    questions = read_questions(Path(chosen.questions))
    tuned = [arm for arm in arms if arm in TUNED]
    if not tuned:
        return _Task(settings, arms, questions, None)
    if not settings.ask.adapter:
        others = ",".join(arm for arm in arms if arm not in TUNED)
        raise SettingsError(
            f"{' and '.join(tuned)} need an adapter", where="ask.adapter",
            mend="Train one with `phi3kit finetune` and give its run folder with --adapter"
                 + (f", or leave them out with --arms {others}" if "," in others else ""))
    from phi3kit.models.adapters import adapter_folder

    adapter = adapter_folder(settings.ask.adapter)
    refuse_leakage(adapter, questions)
    return _Task(settings, arms, questions, adapter)


def _inputs(task: _Task) -> dict[str, Any]:
    """What decides the answers. How they are judged is left out: that is done again at will."""
    from phi3kit.models.loading import fingerprint

    settings = task.settings
    index = None
    if any(arm in RETRIEVING for arm in task.arms):
        from phi3kit.ingest.store import open_store

        index = open_store(Path(settings.ingest.store), settings.ingest.collection).fingerprint()
    weights = task.adapter and sha256_file(task.adapter / "adapter_model.safetensors")
    assert settings.compare.questions
    return {
        "questions": sha256_file(Path(settings.compare.questions)),
        "base": fingerprint(settings.model.name, settings.model.revision),
        "quantization": settings.model.quantization,
        "dtype": settings.model.dtype,
        "device": settings.model.device,
        "adapter": weights,
        "index": index,
        "prompt": prompt_fingerprint(settings.ask),
        "passages": settings.ask.passages,
        "min_similarity": settings.ask.min_similarity,
        "retrieval": settings.ask.retrieval,
        "filters": sorted(settings.ask.filters),
        "rerank": _reranker(settings),
        "max_new_tokens": settings.ask.max_new_tokens,
    }


def _reranker(settings: Settings) -> str | None:
    """Identity of the reranker's weights, for a folder of the same name may hold others."""
    if settings.ask.rerank is None:
        return None
    from phi3kit.rag.rerank import open_reranker

    return open_reranker(settings.ask.rerank).fingerprint


def _record_of(settings: Settings, resolved: Resolved | None) -> dict[str, Any]:
    if resolved is None:
        return {"values": msgspec.to_builtins(settings)}
    return {key: {"value": value, "source": source} for key, value, source in resolved.items()}


def _run(task: _Task, run: runs.Run, advice: Mapping[str, Any] | None,
         started: float) -> Comparison:
    file = RowFile(run.path / ROWS)
    missing = {arm: [q for q in task.questions if (arm, q.id) not in file.rows]
               for arm in task.arms}
    wanted = len(task.arms) * len(task.questions)
    reused = wanted - sum(map(len, missing.values()))
    if reused:
        note(f"{run.path}: {reused} of {wanted} answers are there already")
    if reused < wanted:
        try:
            _answer_missing(task, run, file, missing)
        except Phi3kitError as error:
            run.fail(str(error))
            raise
    rows = score([file.rows[arm, question.id] for arm in task.arms
                  for question in task.questions], task.questions)
    file.rewrite(rows)
    comparison = analyse(rows, task.arms, task.settings.compare, run=run.path, advice=advice,
                         conditions=_read_conditions(run.path) or {})
    save(comparison)
    seconds = time.monotonic() - started
    run.finish({"verdict": comparison.verdict.sentence, "seconds": seconds})
    return dataclasses.replace(comparison, reused_rows=reused, seconds=seconds)


def _answer_missing(task: _Task, run: runs.Run, file: RowFile,
                    missing: Mapping[Option, Sequence[Question]]) -> None:
    bench = _open(task)
    shared = _read_conditions(run.path)
    for arm, questions in missing.items():
        if not questions:
            continue
        now = conditions(bench)
        if shared is None:
            shared = now
            write_json(run.path / _CONDITIONS, shared)
        assert_same(now, shared, arm)
        with bar(f"answering: {arm}", len(questions)) as advance:
            answer(bench, arm, [question.question for question in questions],
                   _keeper(arm, questions, task.questions, file, advance))


def _keeper(arm: Option, questions: Sequence[Question], held_out: Sequence[Question],
            file: RowFile, advance: Advance) -> Callable[[list[int], list[Answer]], None]:
    def keep(indices: list[int], answers: list[Answer]) -> None:
        rows = [row_of(arm, questions[i], found)
                for i, found in zip(indices, answers, strict=True)]
        file.append(score(rows, held_out))
        advance(len(rows))

    return keep


def _open(task: _Task) -> Bench:
    from phi3kit.models.generate import open_generator

    retriever = None
    if any(arm in RETRIEVING for arm in task.arms):
        from phi3kit.rag.retrieve import open_retriever

        retriever = SharedPassages(open_retriever(task.settings))
    return Bench(open_generator(task.settings.model, adapter=task.adapter), retriever,
                 task.settings.ask, task.settings.compare.batch_tokens)


def _read_conditions(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((path / _CONDITIONS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(f"{_CONDITIONS} cannot be read ({error})", where=str(path),
                       mend="Run compare again with --fresh") from error
    return found
