"""`phi3kit compare`: every option on held-out questions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phi3kit import settings
from phi3kit.cli import dry_run
from phi3kit.errors import SettingsError
from phi3kit.records import as_json

if TYPE_CHECKING:
    from phi3kit.records import Comparison


def compare(
    questions: Annotated[str | None, typer.Option(
        help="Held-out questions, JSON Lines: id, question, answers, source_ids, answerable, "
             "kind, format, terms.")] = None,
    adapter: Annotated[list[str] | None, typer.Option(
        metavar="RUN", help="Run folder of finetune; the arms finetune and both answer with it. "
        "Repeated, for the same training with other seeds: how much a seed changes is counted "
        "in.")] = None,
    adapter_rag: Annotated[list[str] | None, typer.Option(
        metavar="RUN", help="Run folder of an adapter tuned with passages, for both; repeated as "
        "--adapter.")] = None,
    arms: Annotated[str | None, typer.Option(
        help="Which of base,rag,finetune,both to run, and of few-shot,oracle-rag,"
             "full-context,bolted-on, which cannot win and tell why.")] = None,
    generator: Annotated[str | None, typer.Option(
        metavar="URL", help="OpenAI-compatible server that answers instead of a local model, "
                            "for arms without an adapter.")] = None,
    metric: Annotated[str | None, typer.Option(
        help="What decides: score, token_f1, exact_match, contains, span_f1, rouge_l or "
             "chrf.")] = None,
    general_questions: Annotated[str | None, typer.Option(
        metavar="FILE|shipped", help="General questions, to see what tuning forgets.")] = None,
    freshness: Annotated[int | None, typer.Option(
        metavar="FACTS", help="Change so many facts in a copy of the collection and ask for them "
                              "again.")] = None,
    learning_curve: Annotated[str | None, typer.Option(
        metavar="25,50,100", help="Train on so many of the examples too: would more pay?")] = None,
    judge: Annotated[str | None, typer.Option(
        metavar="URL", help="OpenAI-compatible server whose model compares answers.")] = None,
    judge_model: Annotated[str | None, typer.Option(help="Name of the judge's model.")] = None,
    weights: Annotated[str | None, typer.Option(
        metavar="quality=2,latency=1", help="How much quality, latency, cost, transparency and "
        "freshness weigh: the choice by them decides the exit code.")] = None,
    gate: Annotated[list[str] | None, typer.Option(
        metavar="CONDITION", help="Such as 'both token_f1 >= rag + 0.02'; may be repeated. Exit "
        "0 if all passed, 1 if one failed, else 3.")] = None,
    margin: Annotated[float | None, typer.Option(
        help="A lead that is not worth another part: the simplest option that is behind none by "
             "so much wins.")] = None,
    confidence: Annotated[float | None, typer.Option(
        help="Level of the intervals and of the verdict.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the bootstrap.")] = None,
    batch_tokens: Annotated[int | None, typer.Option(
        help="Prompt tokens that are answered at once.")] = None,
    model: Annotated[str | None, typer.Option(
        help="Catalog name, hub id or folder of the base model.")] = None,
    collection: Annotated[str | None, typer.Option(
        help="Collection to retrieve from.")] = None,
    prediction: Annotated[Path | None, typer.Option(
        help="Advice to put to the test, as `advise --json` prints it; without it, the last "
             "advice given in this folder.")] = None,
    fresh: Annotated[bool, typer.Option(
        "--fresh", help="Ask every question again instead of reusing saved answers.")] = False,
    as_json_: Annotated[bool, typer.Option(
        "--json", help="Print the result as JSON, and nothing else on stdout.")] = False,
    dry: Annotated[bool, typer.Option(
        "--dry-run", help="Print each setting with its source and stop.")] = False,
) -> None:
    """Measure base, rag, finetune and both on your own questions; exit 3 if not decidable.

    The exit code follows the verdict on quality; with --weights, the choice by them; with
    --gate, the gates.
    """
    resolved = settings.load({
        "compare.questions": questions, **_runs("ask.adapter", "compare.more_adapters", adapter),
        **_runs("compare.adapter_rag", "compare.more_adapters_rag", adapter_rag),
        "compare.arms": _names(arms),
        "compare.general_questions": general_questions, "compare.judge": judge,
        "compare.freshness": freshness, "compare.learning_curve": _sizes(learning_curve),
        "compare.judge_model": judge_model,
        "model.endpoint": generator,
        "compare.metric": metric, "compare.weights": _weights(weights),
        "compare.gate": gate or None,
        "compare.margin": margin, "compare.confidence": confidence, "compare.seed": seed,
        "compare.batch_tokens": batch_tokens, "model.name": model,
        "ingest.collection": collection})
    if dry:
        dry_run.show(resolved, "model", "ingest", "ask", "compare", "runs")
        return
    from phi3kit.advise.prediction import read_prediction
    from phi3kit.compare.run import compare as work

    advice = read_prediction(prediction) if prediction else None
    show(work(resolved.values, resolved, fresh=fresh, advice=advice), json_wanted=as_json_)


def _runs(first: str, more: str, given: list[str] | None) -> dict[str, object]:
    """The flag names all of them: those that the file has beside the first do not stay."""
    return {first: given[0], more: given[1:]} if given else {}


def _names(arms: str | None) -> list[str] | None:
    return None if arms is None else [name.strip() for name in arms.split(",") if name.strip()]


def _sizes(text: str | None) -> list[int] | None:
    names = _names(text)
    for name in names or ():
        if not (name.isascii() and name.isdigit()):
            raise SettingsError(f"{name!r} is no number of examples", where="--learning-curve",
                                mend="Write it as 25,50,100")
    return None if names is None else [int(name) for name in names]


def _weights(text: str | None) -> Mapping[str, float] | None:
    if text is None:
        return None
    from phi3kit.compare.choice import read_weights

    return {str(name): weight for name, weight in read_weights(text).items()}


def show(comparison: Comparison, *, json_wanted: bool, html: Path | None = None) -> None:
    """Write the reports, print the comparison, and exit as it says: see `exit_code`."""
    from phi3kit.report.choice_text import exit_code
    from phi3kit.report.html import write_reports

    page = write_reports(comparison, html)
    if json_wanted:
        typer.echo(json.dumps(as_json(comparison), ensure_ascii=False, indent=2))
    else:
        from phi3kit.report.terminal_comparison import print_comparison

        print_comparison(comparison, page)
    if code := exit_code(comparison):
        raise typer.Exit(code)
