"""Plots as inline SVG: text stays text, colours follow the page's light or dark scheme."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

from phi3kit.records import Comparison
from phi3kit.report.comparison_text import METRIC_NAMES, kinds_of, number, ranked

# Okabe and Ito's palette, told apart by colour-blind people; shapes differ as well.
STYLES = {"base": ("#8a8f98", "s"), "rag": ("#0a84c6", "o"), "finetune": ("#e69f00", "^"),
          "both": ("#d55e00", "D")}
# matplotlib knows no currentColor: a colour that nothing else has stands in for it.
INK = "#010203"
_STYLE = re.compile(r"<style[^>]*>.*?</style>", re.DOTALL)
_STYLED = re.compile(r'style="([^"]*)"')
_WIDTH = 7.2
_LABEL = 26


def arms_plot(comparison: Comparison) -> str:
    """Each arm's mean on the deciding metric with its interval; `contains` beside it, hollow."""
    metric = comparison.verdict.metric
    arms = ranked(comparison)
    figure, axes = figure_of(0.55 * len(arms) + 0.9)
    for place, arm in enumerate(arms):
        color, shape = STYLES.get(arm.arm, (INK, "o"))
        seen = arm.metrics[metric]
        axes.plot([seen.low, seen.high], [place, place], color=color, linewidth=2.5,
                  solid_capstyle="round")
        axes.plot(seen.mean, place, shape, color=color, markersize=9)
        if metric != "contains" and "contains" in arm.metrics:
            axes.plot(arm.metrics["contains"].mean, place + 0.27, "d", markersize=7,
                      markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.2)
    _rows(axes, [arm.arm for arm in arms])
    _scale(axes, METRIC_NAMES[metric])
    says = "; ".join(f"{arm.arm} {number(arm.metrics[metric].mean)}, from "
                     f"{number(arm.metrics[metric].low)} to {number(arm.metrics[metric].high)}"
                     for arm in arms)
    return svg(figure, "arms", f"Mean {METRIC_NAMES[metric]} by arm, with intervals", says)


def kinds_plot(comparison: Comparison) -> str:
    """Each arm's mean by kind of question; "" when the questions have no kinds."""
    kinds = kinds_of(comparison)
    if not kinds:
        return ""
    figure, axes = figure_of(0.5 * len(kinds) + 0.9)
    arms = ranked(comparison)
    says = []
    for place, kind in enumerate(kinds):
        means = [arm.by_kind.get(kind, 0.0) for arm in arms]
        axes.plot([min(means), max(means)], [place, place], color=INK, alpha=0.25, linewidth=1)
        says.append(f"{kind}: " + ", ".join(
            f"{arm.arm} {number(mean)}" for arm, mean in zip(arms, means, strict=True)))
    for index, arm in enumerate(arms):
        color, shape = STYLES.get(arm.arm, (INK, "o"))
        # A little apart from each other, so that equal means can all be seen.
        shift = (index - (len(arms) - 1) / 2) * 0.13
        axes.plot([arm.by_kind.get(kind, 0.0) for kind in kinds],
                  [place + shift for place in range(len(kinds))], shape, color=color,
                  markersize=8)
    _rows(axes, [label(kind) for kind in kinds])
    _scale(axes, METRIC_NAMES[comparison.verdict.metric])
    return svg(figure, "kinds", "Mean by kind of question and arm", "; ".join(says))


def label(text: str) -> str:
    """A text from outside as a label: on one line, short, nothing that is not printed."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown if len(shown) <= _LABEL else f"{shown[:_LABEL - 1]}…"


def figure_of(height: float) -> tuple[Any, Any]:
    """A see-through figure as wide as the page, so many inches high, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _rows(axes: Any, names: Sequence[str]) -> None:
    axes.set_ylim(len(names) - 0.5, -0.5)
    # Names are data: a dollar sign begins no formula.
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.tick_params(axis="y", length=0)


def _scale(axes: Any, name: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel(name)
    axes.grid(axis="x", color=INK, alpha=0.15, linewidth=0.8)
    open_frame(axes, ("top", "right", "left"))


def open_frame(axes: Any, without: Sequence[str]) -> None:
    """Take away the named sides of the frame; all else in the ink of the page."""
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(name not in without)
    axes.tick_params(colors=INK, labelsize=10)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(INK)


def svg(figure: Any, name: str, title: str, description: str) -> str:
    """The figure as an <svg> element with a title and a description for those who hear it."""
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), \
            warnings.catch_warnings():
        # Text stays text: it is drawn with the fonts of whoever reads it.
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        figure.savefig(out, format="svg", metadata={
            "Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg"):].replace(INK, "currentColor")
    # Ids must be unique in the page, which holds several plots.
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = _STYLE.sub("", text)
    text = _STYLED.sub(lambda found: _attributes(found.group(1)), text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    head = (f' role="img" aria-labelledby="{name}-title {name}-desc">'
            f'<title id="{name}-title">{html.escape(title)}</title>'
            f'<desc id="{name}-desc">{html.escape(description)}</desc>')
    return text.replace(">", head, 1)


def _attributes(style: str) -> str:
    """A style attribute's declarations as attributes of their own, which need no leave of a
    content security policy; the font's size of its shorthand, for the page names its own."""
    made = []
    for declaration in html.unescape(style).split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font":
            found = re.search(r"[\d.]+px", value)
            name, value = "font-size", found.group() if found else ""
        if name and value:
            made.append(f'{name}="{html.escape(value)}"')
    return " ".join(made)
