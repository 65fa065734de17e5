"""A comparison as one page that needs nothing else: no script, no font, nothing from the net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phi3kit.files import write_atomic
from phi3kit.records import ArmSummary, Comparison, Row
from phi3kit.report import comparison_text as words
from phi3kit.report.markdown import comparison_markdown
from phi3kit.report.page import render
from phi3kit.report.plots import STYLES, arms_plot, kinds_plot

# The markers of the plots, 12 by 12, for the key below them.
_SHAPES = {"s": '<rect x="2" y="2" width="8" height="8" fill="{0}"/>',
           "o": '<circle cx="6" cy="6" r="5" fill="{0}"/>',
           "^": '<path d="M6 1 11 11H1z" fill="{0}"/>',
           "D": '<path d="M6 0 12 6 6 12 0 6z" fill="{0}"/>'}
_MEANS = {"base": "neither retrieve nor fine-tune", "rag": "retrieve",
          "finetune": "fine-tune", "both": "retrieve and fine-tune"}


def write_reports(comparison: Comparison, html: Path | None = None) -> Path:
    """Write report.html and report.md into the run folder; returns where the page lies.

    Args:
        comparison: its `run` is the folder.
        html: where the page goes instead.
    """
    page = html or Path(comparison.run) / "report.html"
    write_atomic(page, render_comparison(comparison))
    write_atomic(Path(comparison.run) / "report.md", comparison_markdown(comparison))
    return page


def render_comparison(comparison: Comparison) -> str:
    """The page. Whatever comes from documents, questions or models is escaped."""
    import markupsafe

    arms = words.ranked(comparison)
    own = markupsafe.Markup
    return render(
        "comparison.html.j2", "comparison.css", style_attributes=True,
        heading=heading(comparison),
        verdict=comparison.verdict,
        fate=words.fate(comparison),
        findings=words.findings(comparison),
        arms=arms,
        arms_plot=own(arms_plot(comparison)),
        kinds_plot=own(kinds_plot(comparison)),
        shapes={arm: own(_SHAPES[shape].format(color)) for arm, (color, shape) in STYLES.items()},
        kinds=_kinds(comparison, arms),
        metrics=words.metrics_of(comparison),
        names=words.METRIC_NAMES,
        meanings=words.METRIC_MEANINGS,
        level=f"{comparison.confidence * 100:g}%",
        alpha=1 - comparison.confidence,
        differences=words.sorted_differences(comparison),
        advice=_advice(comparison.advice),
        conditions=comparison.conditions,
        groups=_groups(comparison, arms),
        run=comparison.run,
        number=words.number, p_value=words.p_value, seconds=words.seconds,
        per_answer=words.per_answer)


def heading(comparison: Comparison) -> str:
    """The verdict in a few words."""
    verdict = comparison.verdict
    if verdict.winner:
        return f"Choose {verdict.winner}: {_MEANS[verdict.winner]}"
    return f"{words.listed(verdict.contenders)}: not told apart"


def _advice(advice: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Of the advice, what the page shows; a file by another hand may lack any of it."""
    if not advice:
        return None
    reasons = [reason for reason in advice.get("reasons") or ()
               if isinstance(reason, Mapping) and "statement" in reason]
    return {"confidence": advice.get("confidence"), "reasons": [
        {"statement": reason["statement"], "because": reason.get("because") or ()}
        for reason in reasons]}


def _kinds(comparison: Comparison, arms: Sequence[ArmSummary]) -> list[dict[str, Any]]:
    found = []
    for kind in words.kinds_of(comparison):
        means = [arm.by_kind.get(kind, 0.0) for arm in arms]
        asked = {row.question_id for row in comparison.rows if row.kind == kind}
        found.append({"name": kind, "questions": len(asked), "means": means, "best": max(means)})
    return found


def _groups(comparison: Comparison, arms: Sequence[ArmSummary]) -> list[dict[str, Any]]:
    """The questions by kind, each with its rows in the order of the arms."""
    place = {arm.arm: index for index, arm in enumerate(arms)}
    by_question: dict[str, list[Row]] = {}
    for row in comparison.rows:
        if row.arm not in place:  # diagnostic arms have their sentences
            continue
        by_question.setdefault(row.question_id, []).append(row)
    groups: dict[str, list[dict[str, Any]]] = {}
    for rows in by_question.values():
        rows.sort(key=lambda row: place[row.arm])
        groups.setdefault(rows[0].kind, []).append(_question(rows, comparison.verdict.metric))
    return [{"name": name, "questions": items} for name, items in groups.items()]


def _question(rows: Sequence[Row], metric: str) -> dict[str, Any]:
    marks = [{"arm": row.arm, "value": row.metrics[metric], "level": _level(row.metrics[metric])}
             for row in rows]
    shown = next((row for row in rows if row.passages), None)
    return {
        "id": rows[0].question_id, "question": rows[0].question, "gold": rows[0].gold,
        "rows": rows, "marks": marks,
        "spoken": ", ".join(f"{mark['arm']} {words.number(row.metrics[metric])}"
                            for mark, row in zip(marks, rows, strict=True)),
        "passages": list(zip(shown.sources, shown.passages, strict=True)) if shown else [],
    }


def _level(value: float) -> str:
    return "good" if value >= 0.8 else "fair" if value >= 0.4 else "poor"
