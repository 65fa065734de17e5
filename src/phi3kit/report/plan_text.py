"""Plans and calibrations in words and cells, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from phi3kit.records import CalibrationRow, MemoryPlan, TrainingPlan
from phi3kit.wording import printable

GB = 10**9
PARTS = ("weights", "adapter", "gradients", "optimizer", "copies", "activations", "overhead",
         "total")
CALIBRATION_HEAD = ("run", "method", "rank", "fullest pass", "device", "planned GB", "peak GB",
                    "off by", "planned s", "took s", "off by")


def title(plans: Sequence[MemoryPlan]) -> str:
    """Which model and which step: of all methods, or of each where they differ."""
    first = plans[0]
    told = []
    for name in ("context", "batch"):
        values = {plan.method: getattr(plan, name) for plan in plans}
        told.append(f"{name} " + (
            str(getattr(first, name)) if len(set(values.values())) == 1 else
            ", ".join(f"{value} for {method}" for method, value in values.items())))
    count = first.parameters
    size = f"{count / 1e9:.2f} B" if count >= 10**9 else f"{count / 1e6:.2f} M"
    return f"{first.model}: {size} parameters, {', '.join(told)}"


def memory_rows(found: TrainingPlan) -> list[list[str]]:
    """A row per part, a cell per method: GB as expected, and low to high where they differ."""
    return [[part, *(_memory(plan, part) for plan in found.plans)] for part in PARTS]


def gpu_rows(found: TrainingPlan) -> list[list[str]]:
    """A row per size of card, a cell per method: how many, and low to high where they differ."""
    return [[f"of {size} GB", *(_cards(plan, size) for plan in found.plans)]
            for size in found.plans[0].gpus]


def fit(plan: MemoryPlan, found: TrainingPlan) -> str:
    """Whether it fits the user's memory, and what else would."""
    several = f"{found.gpus} × " if found.gpus > 1 else ""
    room = f"{several}{found.memory_gb:g} GB" + (f" ({found.card})" if found.card else "")
    if plan.fits:
        return (f"fits into {room}; at most --batch {plan.largest_batch} at context "
                f"{plan.context}, or --context {plan.longest_context} at batch {plan.batch}")
    return f"does not fit into {room}"


def dataset(found: TrainingPlan) -> str:
    """What the hours are for."""
    size = found.dataset
    assert size is not None
    return (f"{size.examples:,} examples of {size.tokens / size.examples:,.0f} tokens "
            f"({printable(size.how)}); hours to train on {found.times[0].tokens:,} tokens")


def time_rows(found: TrainingPlan) -> list[list[str]]:
    """A row per method: hours at low, expected and high, and whether it fits at all."""
    return [[item.method, *(hours(value) for value in (item.low, item.expected, item.high)),
             "if it fitted" if plan.fits is False else ""]
            for item, plan in zip(found.times, found.plans, strict=True)]


def cost_rows(found: TrainingPlan) -> list[list[str]]:
    """A row per method; none when an hour has no price."""
    return [[item.method, *(f"{item.cost[end]:,.2f}" for end in ("low", "expected", "high"))]
            for item in found.times if item.cost is not None]


def assumed(found: TrainingPlan) -> list[str]:
    """What all of it rests on, each once."""
    lines: list[str] = [line for plan in found.plans for line in plan.assumptions]
    if found.times:
        lines.append(found.times[0].how)
        lines += [line for item in found.times for line in item.assumptions]
    return list(dict.fromkeys(lines))


def calibration_cells(row: CalibrationRow) -> list[str]:
    """One run under `CALIBRATION_HEAD`."""
    recomputed = " recomputed" if row.checkpointing else ""
    return [printable(row.run), printable(", ".join((row.method, *row.variants))),
            "–" if row.method == "full" else str(row.rank),
            f"{row.batch} × {row.context}{recomputed}", row.device,
            f"{row.planned_bytes / GB:.2f}", f"{row.peak_bytes / GB:.2f}",
            f"{row.memory_error:+.1%}",
            "–" if row.planned_seconds is None else f"{row.planned_seconds:.0f}",
            f"{row.seconds:.0f}", share(row.time_error)]


def share(error: float | None) -> str:
    """A relative error with its sign."""
    return "–" if error is None else f"{error:+.1%}"


def hours(value: float) -> str:
    """A duration, as coarse as it deserves."""
    if value < 1 / 60:
        return f"{value * 3600:.0f} s"
    return f"{value:,.1f} h" if value >= 1 else f"{value * 60:.1f} min"


def widths(rows: Iterable[list[str]]) -> list[int]:
    """Of each column."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _memory(plan: MemoryPlan, part: str) -> str:
    low, expected, high = (
        sum(parts.values()) if part == "total" else parts[part]
        for parts in (plan.low, plan.parts, plan.high))
    told = f"{expected / GB:.2f}"
    return told if low == high else f"{told} ({low / GB:.2f}–{high / GB:.2f})"


def _cards(plan: MemoryPlan, size: str) -> str:
    low, expected, high = (
        "none" if count is None else str(count)
        for count in (plan.gpus_low[size], plan.gpus[size], plan.gpus_high[size]))
    return expected if low == high else f"{expected} ({low}–{high})"
