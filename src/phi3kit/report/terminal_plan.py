"""Memory and time plans on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from phi3kit.records import Calibration, TrainingPlan
from phi3kit.report import plan_text as words
from phi3kit.wording import printable


def print_plan(found: TrainingPlan) -> None:
    """One column per method: memory by part, cards by size, what to change, hours and cost."""
    methods = [plan.method for plan in found.plans]
    print(f"{words.title(found.plans)}\n")
    _print_table([["memory, GB", *methods], *words.memory_rows(found)])
    if cards := words.gpu_rows(found):
        print()
        _print_table([["GPUs needed", *methods], *cards])
    if found.memory_gb is not None:
        print()
        for plan in found.plans:
            print(f"{plan.method}: {words.fit(plan, found)}")
            for line in plan.advice:
                print(f"  {line}")
    elif advised := [(plan.method, line) for plan in found.plans for line in plan.advice]:
        print()
        for method, line in advised:
            print(f"{method}: {line}")
    if found.times:
        _print_times(found)
    print()
    for line in words.assumed(found):
        print(f"Assumed: {line}.")


def _print_times(found: TrainingPlan) -> None:
    print(f"\n{words.dataset(found)}")
    assert found.dataset is not None
    if skipped := found.dataset.skipped:
        print(f"{len(skipped)} more cannot be used; the first: {printable(skipped[0].where)}: "
              f"{printable(skipped[0].why)}")
    _print_table([["time", "low", "expected", "high", ""], *words.time_rows(found)])
    if costs := words.cost_rows(found):
        print(f"cost at {found.price:g} an hour")
        _print_table(costs)


def print_calibration(found: Calibration) -> None:
    """A line per training run: planned, taken, and how far apart."""
    _print_table([list(words.CALIBRATION_HEAD), *map(words.calibration_cells, found.rows)])
    print(f"\nfarthest off: memory {words.share(found.largest_memory_error)}, time "
          f"{words.share(found.largest_time_error)}")
    for failure in found.skipped:
        print(f"not compared: {printable(failure.where)}: {printable(failure.why)}")


def _print_table(rows: Sequence[list[str]]) -> None:
    """The first column to the left, the others to the right."""
    width = words.widths(rows)
    for row in rows:
        cells = [f"{row[0]:<{max(width[0], 12)}}",
                 *(f"{cell:>{w}}" for cell, w in zip(row[1:], width[1:], strict=True))]
        print("   ".join(cells).rstrip())
