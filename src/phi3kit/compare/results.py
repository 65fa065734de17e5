"""What the rows say, written to result.json and read back without running anything again.

result.json holds nothing that a clock decides: the same rows, settings and seed give the
same bytes. Times are added from the rows, and from run.json, when it is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from phi3kit.compare.arms import RETRIEVING
from phi3kit.compare.metrics import closed_kinds, is_gold, measure
from phi3kit.compare.rows import RowFile
from phi3kit.compare.statistics import Method, differences, summarise, times
from phi3kit.compare.verdict import decide
from phi3kit.errors import RunError
from phi3kit.files import write_json
from phi3kit.records import OPTIONS, Answer, Comparison, Option, Passage, Question, Row, as_json
from phi3kit.runs import read_run
from phi3kit.settings import CompareSettings

ROWS = "rows.jsonl"
RESULT = "result.json"
_BY_CLOCK = ("seconds", "latency_p50", "latency_p95")


def row_of(arm: str, question: Question, answer: Answer) -> Row:
    """The row of one answer, not yet scored.

    Questions are grouped by their first source document; those without one are on their own.
    """
    return Row(
        arm=arm, question_id=question.id, kind=question.kind,
        cluster=question.source_ids[0] if question.source_ids else question.id,
        question=question.question, gold=question.answers, output=answer.text,
        abstained=answer.abstained,
        citations=tuple(_source(citation.passage, question) for citation in answer.citations),
        removed_citations=answer.removed_citations,
        passages=tuple(passage.text for passage in answer.passages),
        sources=tuple(_source(passage, question) for passage in answer.passages),
        tokens_in=answer.tokens_in, tokens_out=answer.tokens_out, seconds=answer.seconds,
        metrics={}, error=answer.error)


def _source(passage: Passage, question: Question) -> str:
    """Of the documents that hold the passage, the one that the question names; else the first."""
    return next((source for source in passage.sources if is_gold(source, question)),
                passage.source)


def score(rows: Sequence[Row], questions: Sequence[Question]) -> tuple[Row, ...]:
    """The rows with their metrics, computed anew from what they hold."""
    closed = closed_kinds(questions)
    asked = {question.id: question for question in questions}
    return tuple(
        dataclasses.replace(row, metrics=measure(
            asked[row.question_id], row.output, abstained=row.abstained, shown=row.sources,
            cited=row.citations, closed=closed, retrieved=row.arm in RETRIEVING,
            error=bool(row.error)))
        for row in rows)


def analyse(rows: Sequence[Row], arms: Sequence[Option], chosen: CompareSettings, *,
            run: Path, conditions: Mapping[str, Any],
            advice: Mapping[str, Any] | None = None) -> Comparison:
    """The comparison that scored rows amount to.

    Args:
        rows: every arm's rows, the same questions in the same order for each.
        arms: two or more.
        chosen: deciding metric, level, resamples and seed.
        run: the run folder.
        conditions: what the arms shared.
        advice: what was advised before; its `recommendation` is the prediction.
    """
    method = Method(chosen.confidence, chosen.resamples, chosen.seed)
    summaries = tuple(
        summarise(arm, [row for row in rows if row.arm == arm], chosen.metric, method)
        for arm in arms)
    found = differences(rows, arms, chosen.metric, method)
    clusters = len({row.cluster for row in rows})
    verdict = decide(summaries, found, metric=chosen.metric, confidence=chosen.confidence,
                     clusters=clusters, prediction=_prediction(advice))
    return Comparison(
        run=str(run), verdict=verdict, arms=summaries, differences=found,
        conditions={**conditions, "resamples": chosen.resamples, "seed": chosen.seed},
        confidence=chosen.confidence, clusters=clusters, advice=advice, rows=tuple(rows))


def _prediction(advice: Mapping[str, Any] | None) -> Option | None:
    recommended = (advice or {}).get("recommendation")
    return cast(Option, recommended) if recommended in OPTIONS else None


def save(comparison: Comparison) -> None:
    """Write result.json into the run folder; the rows are in rows.jsonl already."""
    record = as_json(dataclasses.replace(comparison, rows=()))
    for name in ("run", "rows", "seconds", "reused_rows"):
        del record[name]
    for arm in record["arms"]:
        for name in _BY_CLOCK:
            del arm[name]
    write_json(Path(comparison.run) / RESULT, record)


def load_comparison(run: Path) -> Comparison:
    """A finished comparison from its run folder; no model is loaded.

    Raises:
        RunError: the folder is no comparison's, or the comparison was not finished.
    """
    state = read_run(run)
    if state.get("kind") != "compare":
        raise RunError(f"made by {state.get('kind')}, not by compare", where=str(run),
                       mend="Give a run folder of `phi3kit compare`")
    if state["status"] != "complete" or not (run / RESULT).is_file():
        raise RunError("the comparison is not finished", where=str(run),
                       mend="Run phi3kit compare again: it goes on from the answers it has")
    rows = RowFile(run / ROWS).rows.values()
    try:
        record = msgspec.json.decode((run / RESULT).read_bytes())
        for arm in record["arms"]:
            arm |= times([row for row in rows if row.arm == arm["arm"]])
        names = {arm["arm"] for arm in record["arms"]}
        result: Mapping[str, Any] = state["result"] or {}
        comparison = msgspec.convert(
            {**record, "run": str(run), "seconds": result.get("seconds", 0.0)}, Comparison)
    except (msgspec.MsgspecError, KeyError, TypeError, IndexError) as error:
        raise RunError(f"{RESULT} cannot be read ({error})", where=str(run),
                       mend="Run phi3kit compare again") from error
    return dataclasses.replace(comparison, rows=tuple(r for r in rows if r.arm in names))
