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

from phi3kit.compare.arms import READS, RETRIEVING, contestants
from phi3kit.compare.choice import as_text, with_choice
from phi3kit.compare.clusters import effective_groups
from phi3kit.compare.costs import read_costs
from phi3kit.compare.diagnosis import diagnose
from phi3kit.compare.discordance import discordances
from phi3kit.compare.effects import effects
from phi3kit.compare.form import form_shares
from phi3kit.compare.formats import Formats
from phi3kit.compare.gaps import refuse_gaps
from phi3kit.compare.gate import with_gates
from phi3kit.compare.harm import harms
from phi3kit.compare.intervals import Method, widened_by
from phi3kit.compare.kept import read_freshness, read_learning
from phi3kit.compare.metrics import SIMILARITY, Seen, closed_kinds, is_gold, measure
from phi3kit.compare.power import detectable, likely_best
from phi3kit.compare.revised import with_revised
from phi3kit.compare.rows import RowFile
from phi3kit.compare.seeds import averaged, between_seeds, parts, training_seeds
from phi3kit.compare.sets import MACRO_F1, macro_f1
from phi3kit.compare.statistics import differences, seed_share, summarise, times
from phi3kit.compare.verdict import decide
from phi3kit.errors import RunError
from phi3kit.files import write_json
from phi3kit.records import (
    OPTIONS,
    Answer,
    Arm,
    ArmSummary,
    Comparison,
    Interval,
    Judged,
    Option,
    Passage,
    Question,
    Row,
    TrainingSeeds,
    as_json,
    with_ends,
)
from phi3kit.runs import read_run
from phi3kit.settings import CompareSettings

ROWS = "rows.jsonl"
RESULT = "result.json"
_BY_CLOCK = ("seconds", "latency_p50", "latency_p95")


def row_of(arm: str, question: Question, answer: Answer, seed: int = 0) -> Row:
    """The row of one answer, not yet scored; `seed` tells which of the arm's adapters gave it."""
    return Row(
        arm=arm, question_id=question.id, **_of_question(question), output=answer.text,
        abstained=answer.abstained,
        citations=tuple(_source(citation.passage, question) for citation in answer.citations),
        removed_citations=answer.removed_citations,
        passages=tuple(passage.text for passage in answer.passages),
        sources=tuple(_source(passage, question) for passage in answer.passages),
        tokens_in=answer.tokens_in, tokens_out=answer.tokens_out, seconds=answer.seconds,
        metrics={}, error=answer.error,
        unsupported=tuple(claim.text for claim in answer.unsupported if claim.kind == "number"),
        seed=seed, withheld=answer.withheld)


def _of_question(question: Question) -> dict[str, Any]:
    """What a row says of its question, whatever was answered.

    Questions are grouped by their first source document; those without one are on their own.
    """
    return {"kind": question.kind, "question": question.question, "gold": question.answers,
            "cluster": question.source_ids[0] if question.source_ids else question.id,
            "documents": len(question.source_ids)}


def _source(passage: Passage, question: Question) -> str:
    """Of the documents that hold the passage, the one that the question names; else the first."""
    return next((source for source in passage.sources if is_gold(source, question)),
                passage.source)


def score(rows: Sequence[Row], questions: Sequence[Question],
          formats: Formats | None = None) -> tuple[Row, ...]:
    """The rows with their metrics, computed anew from what they hold.

    What they say of their question is that of `questions`: a row that an earlier version kept
    may lack some of it. What an embedder measured once is kept: it is not to be had without a
    model.
    """
    closed = closed_kinds(questions)
    asked = {question.id: question for question in questions}

    def scored(row: Row) -> Row:
        question = asked[row.question_id]
        kept = {name: row.metrics[name] for name in (SIMILARITY,) if name in row.metrics}
        return dataclasses.replace(row, **_of_question(question), metrics={**measure(Seen(
            question, row.output, abstained=row.abstained, shown=row.sources,
            cited=row.citations, fabricated=bool(row.removed_citations),
            unsupported=row.unsupported, closed=question.kind in closed,
            retrieved=row.arm in RETRIEVING, reads=row.arm in READS,
            error=bool(row.error)), formats), **kept})

    return tuple(map(scored, rows))


def analyse(rows: Sequence[Row], arms: Sequence[Arm], chosen: CompareSettings, *,
            run: Path, conditions: Mapping[str, Any], advice: Mapping[str, Any] | None = None,
            general: Sequence[Row] = (), judged: Sequence[Judged] = (),
            notes: Sequence[str] = (),
            adapters: Mapping[str, Sequence[str]] | None = None) -> Comparison:
    """The comparison that scored rows amount to.

    Args:
        rows: every arm's rows, the same questions in the same order for each, and for each of
            its training seeds.
        arms: two or more of those that can win, and any of the others.
        chosen: deciding metric, level, resamples and seed.
        run: the run folder.
        conditions: what the arms shared.
        advice: what was advised before; its `recommendation` is the prediction.
        general: scored answers to the general questions.
        judged: a judge's preferences.
        notes: what has to be known to read it.
        adapters: what tells each tuned arm's adapters: those with the same are paired by seed.
    """
    method = Method(chosen.confidence, chosen.resamples, chosen.seed)
    options = contestants(arms)
    every, rows = rows, averaged(rows)
    seeds = _seeds(every, rows, adapters, chosen.metric)
    summaries = {arm: _summary(arm, [row for row in rows if row.arm == arm],
                               [row for row in every if row.arm == arm], chosen, method, seeds)
                 for arm in arms}
    contest = tuple(summaries[arm] for arm in options)
    found = differences(rows, options, chosen.metric, method, seeds)
    clusters, worth = len({row.cluster for row in rows}), effective_groups(rows)
    verdict = decide(contest, found, metric=chosen.metric, confidence=chosen.confidence,
                     clusters=clusters, effective=worth, prediction=_prediction(advice),
                     margin=chosen.margin)
    comparison = Comparison(
        run=str(run), verdict=verdict, arms=contest, differences=found,
        conditions={**conditions, "resamples": chosen.resamples, "seed": chosen.seed,
                    **({"weights": weights} if (weights := as_text(chosen.weights)) else {})},
        confidence=chosen.confidence, clusters=clusters, advice=advice, rows=tuple(rows),
        diagnostics=tuple(summaries[arm] for arm in arms if arm not in options),
        diagnoses=diagnose(rows, chosen.metric, method, seeds),
        forms=form_shares(rows, method, seeds), harms=harms(rows, general, options, method, seeds),
        judged=tuple(judged), notes=tuple(notes),
        effects=effects(rows, chosen.metric, method, seeds),
        discordances=discordances(rows, options),
        likely_best=likely_best(rows, options, chosen.metric, method, seeds),
        detectable=detectable(contest, found, metric=chosen.metric, clusters=clusters,
                              effective=worth, confidence=chosen.confidence), seeds=seeds)
    return with_gates(comparison, chosen.gate, method)


def _seeds(every: Sequence[Row], rows: Sequence[Row],
           adapters: Mapping[str, Sequence[str]] | None, metric: str) -> (
               tuple[TrainingSeeds, ...]):
    """Of each arm that answered with several, with the share of the variance that they make."""
    found = training_seeds(every, adapters)
    return tuple(dataclasses.replace(each, share=seed_share(
        [(row.cluster, row.metrics[metric]) for row in rows if row.arm == each.arm],
        parts([each], [(each.arm, metric, 1.0)]))) for each in found)


def _summary(arm: str, rows: Sequence[Row], every: Sequence[Row], chosen: CompareSettings,
             method: Method, seeds: Sequence[TrainingSeeds]) -> ArmSummary:
    """Args: `rows` are averaged over seeds, `every` are the answers of each."""
    summary = summarise(arm, rows, chosen.metric, method, seeds)
    # A label is right or wrong, so that answers are counted and not averaged.
    macro = macro_f1(every, confidence=chosen.confidence, resamples=chosen.resamples,
                     seed=chosen.seed)
    if macro is None:
        return summary
    if any(each.arm == arm for each in seeds):
        macro = _macro_widened(macro, every, chosen)
    return dataclasses.replace(summary, metrics={**summary.metrics, MACRO_F1: macro})


def _macro_widened(macro: Interval, every: Sequence[Row], chosen: CompareSettings) -> Interval:
    """Macro F1 is no mean over questions, so that its variance is read back from its interval."""
    own: dict[int, list[Row]] = {}
    for row in every:
        own.setdefault(row.seed, []).append(row)
    means = [found.mean for rows in own.values() if (found := macro_f1(
        rows, confidence=chosen.confidence, resamples=chosen.resamples, seed=chosen.seed))]
    closed = [(row.cluster, 1.0) for row in every if "label_accuracy" in row.metrics]
    return widened_by(macro, closed, [between_seeds(means)], chosen.confidence)


def _prediction(advice: Mapping[str, Any] | None) -> Option | None:
    recommended = (advice or {}).get("recommendation")
    return cast(Option, recommended) if recommended in OPTIONS else None


def save(comparison: Comparison) -> None:
    """Write result.json into the run folder; the rows are in rows.jsonl already."""
    record = as_json(dataclasses.replace(comparison, rows=()))
    for name in ("run", "rows", "seconds", "reused_rows", "costs", "freshness", "learning",
                 "choice", "revised"):
        del record[name]
    for arm in (*record["arms"], *record["diagnostics"]):
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
    rows = averaged(RowFile(run / ROWS).rows.values())
    try:
        record = with_ends(msgspec.json.decode((run / RESULT).read_bytes()))
        summaries = [*record["arms"], *record.get("diagnostics", ())]
        refuse_gaps(run, summaries, rows)
        for arm in summaries:
            arm |= times([row for row in rows if row.arm == arm["arm"]])
        names = {arm["arm"] for arm in summaries}
        result: Mapping[str, Any] = state["result"] or {}
        comparison = msgspec.convert(
            {**record, "run": str(run), "seconds": result.get("seconds", 0.0)}, Comparison)
    except (msgspec.MsgspecError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise RunError(f"{RESULT} cannot be read ({error})", where=str(run),
                       mend="Run phi3kit compare again") from error
    return with_revised(with_choice(dataclasses.replace(
        comparison, costs=read_costs(run), freshness=read_freshness(run),
        learning=read_learning(run), rows=tuple(r for r in rows if r.arm in names))))
