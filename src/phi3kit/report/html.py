"""A comparison as one page that needs nothing else: no font, nothing from the net."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from phi3kit.files import write_named
from phi3kit.records import ArmSummary, Comparison
from phi3kit.report import choice_text
from phi3kit.report import comparison_text as words
from phi3kit.report.markdown import comparison_markdown
from phi3kit.report.page import render
from phi3kit.report.plots import STYLES, arms_plot, kinds_plot
from phi3kit.report.plots_beside import (
    costs_plot,
    latency_plot,
    learning_plot,
    loss_plot,
    volume_plot,
)
from phi3kit.report.questions import arms_shown, question_groups
from phi3kit.report.revised_text import advice_sentences
from phi3kit.report.sections import sections
from phi3kit.wording import in_seconds, listed

# What to do where a report cannot be written.
PAGE_ELSEWHERE = "Name a file that can be with `phi3kit report RUN --html FILE`"
IN_THE_RUN = "Make room for it, or copy the run folder to where you may write"
# The markers of the plots, 12 by 12, for the key below them.
_SHAPES = {"s": '<rect x="2" y="2" width="8" height="8" fill="{0}"/>',
           "o": '<circle cx="6" cy="6" r="5" fill="{0}"/>',
           "^": '<path d="M6 1 11 11H1z" fill="{0}"/>',
           "D": '<path d="M6 0 12 6 6 12 0 6z" fill="{0}"/>'}
# What is drawn in a section, and what it shows.
PLOTS: Mapping[str, Sequence[tuple[Callable[[Comparison], str], str]]] = {
    "costs": ((costs_plot, "Up is better, left is cheaper; the lines are intervals."),
              (volume_plot, "What a month costs by how many questions are asked. Dotted: where "
                            "another arm becomes the cheaper one. Dashed: your volume.")),
    "learning": ((learning_plot,
                  "Filled: measured, with intervals. Hollow and dashed: expected."),),
    "loss": ((loss_plot, "Means over the steps since the point before."),),
}
# So many sentences of a finding, and so many measures, are seen at once; the others on a click.
_AT_ONCE = 4
_MEASURES = 7
_MEANS = {"base": "neither retrieve nor fine-tune", "rag": "retrieve",
          "finetune": "fine-tune", "both": "retrieve and fine-tune"}


def write_reports(comparison: Comparison, html: Path | None = None) -> Path:
    """Write report.html and report.md into the run folder; returns where the page lies.

    Args:
        comparison: its `run` is the folder.
        html: where the page goes instead.

    Raises:
        DataError: one of them cannot be written.
    """
    page = html or Path(comparison.run) / "report.html"
    write_named(page, render_comparison(comparison), mend=PAGE_ELSEWHERE)
    write_named(Path(comparison.run) / "report.md", comparison_markdown(comparison),
                mend=IN_THE_RUN)
    return page


def render_comparison(comparison: Comparison) -> str:
    """The page. Whatever comes from documents, questions or models is escaped."""
    import markupsafe

    arms = words.ranked(comparison)
    metrics = words.metrics_of(comparison)
    own = markupsafe.Markup
    return render(
        "comparison.html.j2", "comparison.css", script="comparison.js",
        heading=heading(comparison),
        decided=choice_text.decided(comparison),
        lead=choice_text.lead(comparison).splitlines(),
        verdict=comparison.verdict,
        fate=" ".join(advice_sentences(comparison)),
        findings=[(title, said[:_AT_ONCE], said[_AT_ONCE:])
                  for title, said in words.findings(comparison)],
        arms=arms,
        arms_plot=own(arms_plot(comparison)),
        latency_plot=own(latency_plot(comparison)),
        sections=[(section, _drawn(section.id, comparison))
                  for section in sections(comparison)],
        asked_arms=arms_shown(comparison),
        kinds_plot=own(kinds_plot(comparison)),
        shapes={arm: own(_SHAPES[shape].format(color)) for arm, (color, shape) in STYLES.items()},
        kinds=_kinds(comparison, arms),
        metrics=metrics[:_MEASURES],
        more_metrics=metrics[_MEASURES:],
        names=words.METRIC_NAMES,
        meanings=words.METRIC_MEANINGS,
        level=f"{comparison.confidence * 100:g}%",
        alpha=1 - comparison.confidence,
        differences=words.sorted_differences(comparison),
        reasons=_reasons(comparison.advice or {}),
        revised=comparison.revised is not None,
        conditions=comparison.conditions,
        groups=question_groups(comparison),
        run=comparison.run,
        number=words.number, p_value=words.p_value, seconds=in_seconds,
        per_answer=words.per_answer)


def heading(comparison: Comparison) -> str:
    """The decision in a few words: by the weights where there are any, else the verdict."""
    verdict, choice = comparison.verdict, comparison.choice
    if choice is not None and choice.chosen is not None:
        return f"Choose {choice.chosen}: {_MEANS[choice.chosen]}"
    if choice is not None:
        return "Your weights do not decide it yet"
    if verdict.winner:
        return f"Choose {verdict.winner}: {_MEANS[verdict.winner]}"
    return f"{listed(verdict.contenders)}: not told apart"


def _drawn(section: str, comparison: Comparison) -> list[tuple[Any, str]]:
    """A section's plots as markup, each with its caption."""
    import markupsafe

    drawn = ((draw(comparison), caption) for draw, caption in PLOTS.get(section, ()))
    return [(markupsafe.Markup(plot), caption) for plot, caption in drawn if plot]


def _reasons(advice: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The reasons of the advice; a file by another hand may lack any of it."""
    return [{"statement": reason["statement"], "because": _listed(reason.get("because"))}
            for reason in _listed(advice.get("reasons"))
            if isinstance(reason, Mapping) and "statement" in reason]


def _listed(value: Any) -> Sequence[Any]:
    """A list as it is; what is none has nothing to show."""
    return value if isinstance(value, list | tuple) else ()


def _kinds(comparison: Comparison, arms: Sequence[ArmSummary]) -> list[dict[str, Any]]:
    found = []
    for kind in words.kinds_of(comparison):
        means = [arm.by_kind.get(kind, 0.0) for arm in arms]
        asked = {row.question_id for row in comparison.rows if row.kind == kind}
        found.append({"name": kind, "questions": len(asked), "means": means, "best": max(means)})
    return found
