"""Memory and time plans as Markdown."""

from __future__ import annotations

from phi3kit.records import Calibration, TrainingPlan
from phi3kit.report import plan_text as words
from phi3kit.report.markdown import escape, table
from phi3kit.wording import printable


def plan_markdown(found: TrainingPlan) -> str:
    """The tables of a plan, and what they rest on."""
    methods = [plan.method for plan in found.plans]
    parts = [f"# {escape(words.title(found.plans))}", "## Memory, GB", memory_table(found)]
    if found.plans[0].gpus:
        parts += ["## GPUs needed", gpu_table(found)]
    if found.memory_gb is not None:
        parts.append("\n".join(
            f"- {method}: {words.fit(plan, found)}"
            + "".join(f"\n  - {escape(line)}" for line in plan.advice)
            for method, plan in zip(methods, found.plans, strict=True)))
    elif advised := [(plan.method, line) for plan in found.plans for line in plan.advice]:
        parts.append("\n".join(f"- {method}: {escape(line)}" for method, line in advised))
    if found.times:
        parts += ["## Time", escape(words.dataset(found)),
                  table(["method", "low", "expected", "high", ""], words.time_rows(found))]
        if costs := words.cost_rows(found):
            parts += [f"Cost at {found.price:g} an hour:",
                      table(["method", "low", "expected", "high"], costs)]
    parts += ["## Assumed", "\n".join(f"- {escape(line)}" for line in words.assumed(found))]
    return "\n\n".join(parts)


def memory_table(found: TrainingPlan) -> str:
    """Memory by part, a column per method: expected, and low to high where they differ."""
    return table(["part", *(plan.method for plan in found.plans)], words.memory_rows(found))


def gpu_table(found: TrainingPlan) -> str:
    """Cards needed by size, a column per method."""
    return table(["cards", *(plan.method for plan in found.plans)], words.gpu_rows(found))


def calibration_markdown(found: Calibration) -> str:
    """A row per training run: planned, taken, and how far apart."""
    rows = [[escape(cell) for cell in words.calibration_cells(row)] for row in found.rows]
    lines = [table(list(words.CALIBRATION_HEAD), rows),
             f"Farthest off: memory {words.share(found.largest_memory_error)}, time "
             f"{words.share(found.largest_time_error)}."]
    lines += [f"- not compared: {escape(printable(f.where))}: {escape(printable(f.why))}"
              for f in found.skipped]
    return "\n\n".join(lines)
