"""Memory and time plans on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from phi3kit.records import DatasetSize, MemoryPlan, TimePlan

_GB = 10**9
_PARTS = ("weights", "adapter", "gradients", "optimizer", "activations", "overhead")


def print_plans(plans: Sequence[MemoryPlan], gpu_memory_gb: float | None, *,
                card: str = "") -> None:
    """One column per method: memory by part, then cards by size, then what to change.

    Args:
        card: the name of the user's card, if it has one.
    """
    first = plans[0]
    print(f"{first.model}: {first.parameters / 1e9:.2f} B parameters, context {first.context}, "
          f"batch {first.batch}")
    print()
    width = 14
    print(f"{'memory, GB':<{width}}" + "".join(f"{p.method:>10}" for p in plans))
    for part in (*_PARTS, "total"):
        values = (p.total if part == "total" else p.parts[part] for p in plans)
        print(f"{part:<{width}}" + "".join(f"{value / _GB:>10.2f}" for value in values))
    print()
    print(f"{'GPUs needed':<{width}}" + "".join(f"{p.method:>10}" for p in plans))
    for size in first.gpus:
        counts = (p.gpus[size] for p in plans)
        print(f"{'of ' + size + ' GB':<{width}}"
              + "".join(f"{'none' if n is None else n:>10}" for n in counts))
    if gpu_memory_gb is not None:
        print()
        room = f"{gpu_memory_gb:g} GB" + (f" ({card})" if card else "")
        for item in plans:
            print(f"{item.method}: {_fit(item, room)}")
            for line in item.advice:
                print(f"  {line}")
    print()
    _print_assumed(line for item in plans for line in item.assumptions)


def print_times(times: Sequence[TimePlan], plans: Sequence[MemoryPlan], size: DatasetSize,
                price: float | None) -> None:
    """Hours of each method, low to high, and their cost when an hour has a price.

    Args:
        times: of the methods that `plans` has, in its order.
    """
    print(f"\n{size.examples:,} examples of {size.tokens / size.examples:,.0f} tokens "
          f"({_safe(size.how)}); hours to train on {times[0].tokens:,} tokens")
    if size.skipped:
        print(f"{len(size.skipped)} more cannot be used; the first: "
              f"{_safe(size.skipped[0].where)}: {_safe(size.skipped[0].why)}")
    print(f"{'time':<10}{'low':>12}{'expected':>12}{'high':>12}")
    for item, memory in zip(times, plans, strict=True):
        fits = "   if it fitted" if memory.fits is False else ""
        print(f"{item.method:<10}{_hours(item.low):>12}{_hours(item.expected):>12}"
              f"{_hours(item.high):>12}{fits}")
    if price is not None:
        print(f"cost at {price:g} an hour")
        for item in times:
            assert item.cost is not None
            print(f"{item.method:<10}" + "".join(
                f"{item.cost[end]:>12,.2f}" for end in ("low", "expected", "high")))
    print()
    _print_assumed([times[0].how, *(line for item in times for line in item.assumptions)])


def _fit(item: MemoryPlan, room: str) -> str:
    if item.fits:
        return (f"fits into {room}; at most --batch {item.largest_batch} at context "
                f"{item.context}, or --context {item.longest_context} at batch {item.batch}")
    return f"does not fit into {room}"


def _print_assumed(lines: Iterable[str]) -> None:
    for line in dict.fromkeys(lines):
        print(f"Assumed: {line}.")


def _hours(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours:,.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def _safe(text: str) -> str:
    """Names and reasons come from files: no control characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
