"""Quality against what it takes, and the learning curve, as inline SVG with direct labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phi3kit.records import Comparison, Interval
from phi3kit.report.comparison_text import METRIC_NAMES, number, ranked
from phi3kit.report.costs_text import amount
from phi3kit.report.plots import INK, STYLES, figure_of, label, open_frame, svg
from phi3kit.wording import in_seconds

_HEIGHT = 3.4
_Point = tuple[str, float, Interval]


def latency_plot(comparison: Comparison) -> str:
    """Mean quality over the median time of an answer; "" where no time was kept."""
    metric = comparison.verdict.metric
    points = [(arm.arm, arm.latency_p50, arm.metrics[metric]) for arm in ranked(comparison)]
    if not any(x for _, x, _ in points):
        return ""
    says = [f"{arm}: {number(seen.mean)} in {in_seconds(x)}" for arm, x, seen in points]
    return _scatter(comparison, points, "latency", "median time of an answer, s", says)


def costs_plot(comparison: Comparison) -> str:
    """Mean quality over what a month costs, or else a right answer; "" without either."""
    costs = comparison.costs
    if costs is None:
        return ""
    monthly = any(arm.monthly is not None for arm in costs.arms)
    worth = {arm.arm: arm.monthly if monthly else arm.per_correct for arm in costs.arms}
    metric = comparison.verdict.metric
    points = [(arm.arm, x, arm.metrics[metric]) for arm in ranked(comparison)
              if (x := worth.get(arm.arm)) is not None]  # type: ignore[call-overload]
    if not points:
        return ""
    says = [f"{arm}: {number(seen.mean)} for {amount(x, costs.unit)}" for arm, x, seen in points]
    takes = f"{'a month' if monthly else 'a right answer'}, {label(costs.unit)}"
    return _scatter(comparison, points, "cost", takes, says)


def volume_plot(comparison: Comparison) -> str:
    """Each arm's cost of a month by the number of questions; "" where fewer than two have one.

    It reaches past the last break-even and the user's volume.
    """
    costs = comparison.costs
    lines = [(arm.arm, arm.fixed, arm.each) for arm in costs.arms
             if arm.fixed is not None and arm.each is not None] if costs else []
    if costs is None or len(lines) < 2:
        return ""
    marks = [point.questions for point in costs.break_evens]
    reach = 1.3 * max([*marks, costs.questions_per_month or 0.0]) or 10_000.0
    figure, axes = figure_of(_HEIGHT)
    for mark in marks:
        axes.axvline(mark, color=INK, linestyle=":", linewidth=1, alpha=0.6)
    if costs.questions_per_month:
        axes.axvline(costs.questions_per_month, color=INK, linestyle="--", linewidth=1)
    ends = []
    for arm, fixed, each in lines:
        color, shape = STYLES.get(arm, (INK, "o"))
        ends.append((arm, reach, fixed + each * reach))
        axes.plot([0, reach], [fixed, ends[-1][2]], color=color, linewidth=2)
        axes.plot(reach, ends[-1][2], shape, color=color, markersize=8)
    top = 1.2 * max(end for _, _, end in ends) or 1.0
    axes.set_xlim(0, 1.16 * reach)
    axes.set_ylim(0, top)
    _names(axes, ends, reach, top)
    axes.set_xlabel("questions a month")
    axes.set_ylabel(f"a month, {label(costs.unit)}", parse_math=False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.8)
    open_frame(axes, ("top", "right"))
    says = [f"{arm}: {amount(fixed, costs.unit)} and {amount(each, costs.unit)} for each question"
            for arm, fixed, each in lines]
    return svg(figure, "volume", "What a month costs by the number of questions",
               "; ".join([*says, *(point.sentence for point in costs.break_evens)]))


def learning_plot(comparison: Comparison) -> str:
    """Each arm's mean by number of training examples; extrapolations dashed and hollow."""
    found = comparison.learning
    if found is None or not found.points:
        return ""
    figure, axes = figure_of(_HEIGHT)
    says, ends = [], []
    for arm in dict.fromkeys(point.arm for point in found.points):
        color, shape = STYLES.get(arm, (INK, "o"))
        points = sorted((p for p in found.points if p.arm == arm), key=lambda p: p.examples)
        sizes = [point.examples for point in points]
        axes.fill_between(sizes, [p.value.low for p in points], [p.value.high for p in points],
                          color=color, alpha=0.15, linewidth=0)
        axes.plot(sizes, [p.value.mean for p in points], color=color, marker=shape, markersize=8)
        end = (sizes[-1], points[-1].value.mean)
        says += [f"{arm} {number(p.value.mean)} after {p.examples} examples" for p in points]
        for more in (m for m in found.extrapolations if m.arm == arm):
            axes.plot([end[0], more.examples], [end[1], more.value.mean], "--", color=color)
            axes.plot([more.examples] * 2, [more.value.low, more.value.high], color=color,
                      alpha=0.5)
            axes.plot(more.examples, more.value.mean, shape, markersize=8, color=color,
                      markerfacecolor="none")
            end = (more.examples, more.value.mean)
            says.append(f"{arm} expected {number(more.value.mean)} after {more.examples}")
        ends.append((arm, *end))
    name = METRIC_NAMES.get(found.metric, found.metric.replace("_", " "))
    _frame(axes, "training examples", name)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + 0.14 * (high - low))  # room for the last name
    _names(axes, ends, high - low)
    return svg(figure, "learning", f"Mean {name} by number of training examples", "; ".join(says))


def loss_plot(comparison: Comparison) -> str:
    """Each adapter's training loss by optimizer step; "" where no run tells."""
    curves = [curve for curve in comparison.loss if curve.points]
    if not curves:
        return ""
    figure, axes = figure_of(_HEIGHT)
    ends, says = [], []
    for curve in curves:
        color, shape = STYLES.get(curve.arms[0], (INK, "o"))
        steps, losses = zip(*curve.points, strict=True)
        axes.plot(steps, losses, color=color, linewidth=2)
        axes.plot(steps[-1], losses[-1], shape, color=color, markersize=8)
        ends.append((", ".join(curve.arms), float(steps[-1]), losses[-1]))
        says.append(f"{ends[-1][0]}: from {losses[0]:.2f} to {losses[-1]:.2f} in {steps[-1]} steps")
    last = max(x for _, x, _ in ends)
    top = 1.08 * max(loss for curve in curves for _, loss in curve.points) or 1.0
    axes.set_xlim(0, 1.25 * last)
    axes.set_ylim(0, top)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("training loss")
    axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.8)
    open_frame(axes, ("top", "right"))
    _names(axes, ends, 1.25 * last, top)
    return svg(figure, "loss", "Training loss by optimizer step", "; ".join(says))


def _scatter(comparison: Comparison, points: Sequence[_Point], name: str, takes: str,
             says: Sequence[str]) -> str:
    figure, axes = figure_of(_HEIGHT)
    for arm, x, seen in points:
        color, shape = STYLES.get(arm, (INK, "o"))
        axes.plot([x, x], [seen.low, seen.high], color=color, linewidth=2)
        axes.plot(x, seen.mean, shape, color=color, markersize=10)
    quality = METRIC_NAMES[comparison.verdict.metric]
    _frame(axes, takes, quality)
    # From nothing on, so that a length is what it looks like, with room for the last name.
    most = max(x for _, x, _ in points)
    width = most * 1.18 if most > 0 else 1.0
    axes.set_xlim(0, width)
    _names(axes, [(arm, x, seen.mean) for arm, x, seen in points], width)
    return svg(figure, name, f"Mean {quality} against {takes}", "; ".join(says))


def _names(axes: Any, ends: Sequence[tuple[str, float, float]], width: float,
           height: float = 1.0) -> None:
    """Write each name beside its point (name, x, y); the upper of two too near goes up.

    Args:
        axes: what they are written on.
        ends: the points, in the units of the axes.
        width, height: what the axes show.
    """
    placed: list[tuple[float, float]] = []
    for text, x, y in sorted(ends, key=lambda end: end[2]):
        for left, below in placed:  # from below upwards
            if abs(x - left) < 0.16 * width and y < below + 0.06 * height:
                y = below + 0.06 * height
        placed.append((x, y))
        axes.annotate(text, (x, y), xytext=(9, -4), textcoords="offset points", color=INK,
                      fontsize=10, parse_math=False)


def _frame(axes: Any, x: str, y: str) -> None:
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel(y)
    axes.set_xlabel(x, parse_math=False)
    axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.8)
    open_frame(axes, ("top", "right"))
