"""What the arms cost, in sentences, shared by the terminal, Markdown and HTML reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from phi3kit.records import ArmCost, Costs
from phi3kit.wording import in_seconds

_GIB = 2 ** 30


def cost_sentences(costs: Costs | None) -> list[str]:
    """Money or time, for a month and a right answer, then what machines gave; [] without any."""
    return [] if costs is None else [*_worth(costs), *_machine(costs),
                                     *(point.sentence for point in costs.break_evens),
                                     *costs.basis]


def amount(value: float, unit: str) -> str:
    """A cost with its unit: "12,400 USD", "0.0312 USD"; "under 0.0001 USD" for crumbs."""
    if 0 < value < 0.0001:
        return f"under 0.0001 {unit}"
    return f"{value:,.0f} {unit}" if value >= 99.5 else f"{value:.3g} {unit}"


def volume(costs: Costs) -> str:
    """ "10,000 questions and 2 refreshes a month"; "" when no volume was given."""
    if costs.questions_per_month is None:
        return ""
    asked = f"{costs.questions_per_month:,.0f} questions"
    if costs.refreshes_per_month:
        again = f"{costs.refreshes_per_month:g}"
        return f"{asked} and {again} refresh{'' if again == '1' else 'es'} a month"
    return f"{asked} a month"


def _worth(costs: Costs) -> Iterator[str]:
    monthly = _each(costs.arms, lambda arm: arm.monthly, lambda v: amount(v, costs.unit))
    if monthly:
        yield f"At {volume(costs)}: {monthly}."
    right = _each(costs.arms, lambda arm: arm.per_correct, lambda v: amount(v, costs.unit))
    if right:
        alone = ", answering alone" if costs.questions_per_month is None else ""
        yield f"A right answer costs{alone}: {right}."


def _machine(costs: Costs) -> Iterator[str]:
    """Load time, memory, training and energy, as far as they were measured."""
    if costs.load_seconds is not None:
        yield f"Loading takes {in_seconds(costs.load_seconds)}."
    memory = [arm.memory_bytes for arm in costs.arms if arm.memory_bytes]
    if memory:
        low, high = (f"{value / _GIB:.1f}" for value in (min(memory), max(memory)))
        yield f"Answering peaks at {low if low == high else f'{low} to {high}'} GiB."
    trained = _each(costs.arms, lambda arm: arm.train_seconds, in_seconds)
    if trained:
        yield f"Training took: {trained}."
    energy = _each(costs.arms, lambda arm: arm.energy_joules, lambda v: f"{v:.3g} J")
    if energy:
        yield f"Energy per answer: {energy}."


def _each(arms: Sequence[ArmCost], value: Callable[[ArmCost], float | None],
          shown: Callable[[float], str]) -> str:
    """ "base 1 s, rag 2 s" of the arms that have the value; "" when none has."""
    return ", ".join(f"{arm.arm} {shown(found)}" for arm in arms
                     if (found := value(arm)) is not None)
