"""What the arms cost, as a table: a row for each figure that was measured."""

from __future__ import annotations

from collections.abc import Callable

from phi3kit.records import ArmCost, Costs
from phi3kit.report.costs_text import amount
from phi3kit.wording import in_seconds

_GIB = 2 ** 30


def cost_table(costs: Costs) -> tuple[str, list[str], list[list[str]]]:
    """Caption, head and rows: arms as columns; figures that no arm has are left out."""
    unit = costs.unit
    figures: list[tuple[str, Callable[[ArmCost], str | None]]] = [
        ("a month", lambda arm: _shown(arm.monthly, lambda v: amount(v, unit))),
        ("a right answer", lambda arm: _shown(arm.per_correct, lambda v: amount(v, unit))),
        ("answers that are right", lambda arm: f"{arm.correct:.0%}"),
        ("prompt tokens per answer", lambda arm: f"{arm.tokens_in:,.0f}"),
        ("answer tokens per answer", lambda arm: f"{arm.tokens_out:,.0f}"),
        ("latency, median", lambda arm: in_seconds(arm.latency_p50)),
        ("latency, 95th percentile", lambda arm: in_seconds(arm.latency_p95)),
        ("answers a second", lambda arm: f"{arm.answers_per_second:.3g}"),
        ("memory while answering", lambda arm: _shown(arm.memory_bytes, _gib)),
        ("training", lambda arm: _shown(arm.train_seconds, in_seconds)),
        ("memory while training", lambda arm: _shown(arm.train_memory_bytes, _gib)),
        ("index, built from nothing", lambda arm: _shown(arm.index_seconds, in_seconds)),
        ("energy per answer", lambda arm: _shown(arm.energy_joules, lambda v: f"{v:.3g} J")),
    ]
    found = [(name, [figure(arm) for arm in costs.arms]) for name, figure in figures]
    rows = [[name, *(cell or "–" for cell in cells)] for name, cells in found if any(cells)]
    return "As measured here", ["", *(arm.arm for arm in costs.arms)], rows


def _shown(value: float | None, text: Callable[[float], str]) -> str | None:
    return None if value is None else text(value)


def _gib(value: float) -> str:
    return f"{value / _GIB:.2f} GiB"
