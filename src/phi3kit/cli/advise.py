"""`phi3kit advise`: which option fits, why, and what would change it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phi3kit import progress, settings
from phi3kit.cli import dry_run
from phi3kit.cli.advise_answers import Answering
from phi3kit.records import as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi3kit.records import Advice, Comparison, Failure


def advise(
    scenario: Annotated[Path | None, typer.Argument(
        help="Answers, YAML or JSON. Without a file (and none in phi3kit.yaml) the questions "
             "are asked one by one.")] = None,
    corpus: Annotated[list[str] | None, typer.Option(
        metavar="DIR", help="Documents to find answers in; a file or folder. May be "
                            "repeated.")] = None,
    dataset: Annotated[str | None, typer.Option(
        metavar="FILE", help="Training examples to find answers in.")] = None,
    model: Annotated[str | None, typer.Option(
        help="Base model, for its size: catalog name, folder, or a size such as 7B.")] = None,
    evidence: Annotated[Path | None, typer.Option(
        metavar="RUN", help="Run folder of a finished compare: what it measured goes before "
                            "what the rules argue.")] = None,
    as_json_: Annotated[bool, typer.Option(
        "--json", help="Print the advice as JSON, and nothing else on stdout.")] = False,
    markdown: Annotated[bool, typer.Option(
        "--markdown", help="Print the advice as Markdown.")] = False,
    html: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Also write the advice as a page of its own.")] = None,
    set_: Annotated[list[str] | None, typer.Option(
        "--set", metavar="FIELD=VALUE",
        help="An answer; goes before the file's and the measured ones. May be repeated.")] = None,
    what_if: Annotated[list[str] | None, typer.Option(
        metavar="FIELD=VALUE",
        help="Show what these answers would change; no prediction is saved.")] = None,
    explain: Annotated[str | None, typer.Option(
        metavar="RULE", help="Show a rule with its evidence and stop.")] = None,
    validate: Annotated[bool, typer.Option(
        "--validate", help="Score the rules on the published cases and stop.")] = False,
    save: Annotated[Path | None, typer.Option(
        help="File of the prediction that `compare` checks; default "
             ".phi3kit/prediction.json, and none with --evidence.")] = None,
    dry: Annotated[bool, typer.Option(
        "--dry-run", help="Print each setting with its source and stop.")] = False,
) -> None:
    """Say which option fits a scenario, why, how sure that is, and what would change it."""
    if as_json_ and markdown:
        raise typer.BadParameter("--json and --markdown exclude each other")
    if explain is not None or validate:
        about = "--explain" if explain is not None else "--validate"
        _refuse_beside(about, {
            "SCENARIO": scenario, "--validate": explain is not None and validate,
            "--corpus": corpus, "--dataset": dataset, "--model": model, "--evidence": evidence,
            "--markdown": markdown, "--html": html, "--set": set_, "--what-if": what_if,
            "--save": save})
    resolved = settings.load({"advise.scenario": str(scenario) if scenario else None})
    if dry:
        # All that costs and commands are made from.
        dry_run.show(resolved, "ingest", "ask", "finetune", "compare", "advise")
        return
    if explain is not None or validate:
        _about_the_rules(explain, as_json_=as_json_)
        return

    from phi3kit.advise.draft import drop_draft
    from phi3kit.advise.from_data import from_data
    from phi3kit.advise.scenario import read_scenario, read_set
    from phi3kit.advise.score import advise as work

    given, changes = read_set(set_ or []), read_set(what_if or [], flag="--what-if")
    path = resolved.values.advise.scenario
    written = read_scenario(Path(path)) if path else None
    comparison = _read(evidence) if evidence else None
    data = from_data(resolved.values, corpus=corpus or (), dataset=dataset or "",
                     model=model or "")
    own, asked = Answering(written, given, data, comparison).answers(ask=not changes)
    answers, measured = data.beside(own)
    advice = before = work(answers, at_hand=data.at_hand, measured=measured,
                           comparison=comparison)
    if changes:
        answers, measured = data.beside({**own, **changes})
        advice = work(answers, at_hand=data.at_hand, measured=measured, comparison=comparison)
    if html is not None:
        _write_page(advice, html)
    if changes and not markdown:
        _show_change(before, advice, changes, as_json_=as_json_)
    else:
        _show(advice, as_json_=as_json_, markdown=markdown)
    if not changes:
        _keep(advice, save)
    if asked:  # as the last thing: what went wrong before it has cost no answers
        drop_draft()
    _fail_for(data.failures)


def _fail_for(failures: Sequence[Failure]) -> None:
    for failure in failures:
        progress.note(f"phi3kit: {failure.where}: {failure.why}")
    if failures:
        raise typer.Exit(1)


def _refuse_beside(about: str, others: dict[str, object]) -> None:
    for flag, value in others.items():
        if value:
            raise typer.BadParameter(f"{about} shows the rules and advises nothing; leave out "
                                     f"{flag}")


def _read(run: Path) -> Comparison:
    from phi3kit.compare.results import load_comparison

    return load_comparison(run)


def _keep(advice: Advice, save: Path | None) -> None:
    """Save the prediction, unless what it predicts has been seen already."""
    from phi3kit.advise.prediction import DEFAULT_PATH, write_prediction

    if advice.comparison is not None and save is None:
        progress.note(f"no prediction saved: {advice.comparison.run} has been seen already "
                      "(--save FILE saves one)")
        return
    target = save or Path(DEFAULT_PATH)
    write_prediction(advice, target)
    progress.note(f"prediction saved in {target}; compare checks it")


def _write_page(advice: Advice, path: Path) -> None:
    from phi3kit.files import write_named
    from phi3kit.report.html_advice import render_advice

    write_named(path, render_advice(advice), mend="Name another file with --html")
    progress.note(f"page written in {path}")


def _show(advice: Advice, *, as_json_: bool, markdown: bool) -> None:
    if as_json_:
        typer.echo(json.dumps(as_json(advice), ensure_ascii=False, indent=2))
        return
    from phi3kit.report import terminal_advice

    if markdown:
        typer.echo(terminal_advice.markdown(advice), nl=False)
    else:
        terminal_advice.print_advice(advice)


def _show_change(before: Advice, after: Advice, changes: dict[str, Any], *,
                 as_json_: bool) -> None:
    if as_json_:
        typer.echo(json.dumps({"what_if": changes, "before": as_json(before),
                               "after": as_json(after)}, ensure_ascii=False, indent=2))
        return
    from phi3kit.report import terminal_advice

    terminal_advice.print_what_if(before, after, changes)


def _about_the_rules(rule: str | None, *, as_json_: bool) -> None:
    from phi3kit.report import terminal_rules

    if rule is not None:
        from phi3kit.advise.explain import explain_rule

        explained = explain_rule(rule)
        if as_json_:
            typer.echo(json.dumps(explained, ensure_ascii=False, indent=2))
        else:
            terminal_rules.print_rule(explained)
        return
    from phi3kit.advise.validate import validate_rules

    with progress.bar("validating", None):
        result = validate_rules()
    if as_json_:
        typer.echo(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        terminal_rules.print_validation(result)
