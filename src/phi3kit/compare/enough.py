"""Is a simpler arm enough? One that is shown not to be worse by more than the user's margin."""

from __future__ import annotations

from collections.abc import Sequence

from phi3kit.records import Difference, Option

# What each option is made of.
_PARTS: dict[Option, frozenset[str]] = {
    "base": frozenset(), "rag": frozenset({"retrieval"}), "finetune": frozenset({"tuning"}),
    "both": frozenset({"retrieval", "tuning"})}


def simpler(a: Option, b: Option) -> bool:
    """Whether `b` is `a` with more parts: rag and finetune are neither simpler than the other."""
    return _PARTS[a] < _PARTS[b]


def enough(arms: Sequence[Option], found: Sequence[Difference], margin: float) -> Option | None:
    """The simplest arm that is behind no other by `margin` or more, if there is just one.

    A test of non-inferiority: the whole interval of the difference from each other arm must lie
    above `-margin`. All of them have to, so that none needs an adjustment (Berger 1982,
    Multiparameter hypothesis testing and acceptance sampling, Technometrics 24:295): at 95%
    confidence a given arm that is behind by the margin passes at most 2.5% of the time.

    Args:
        arms: those that can win.
        found: of every pair of them.
        margin: in units of the metric; 0 asks for none.

    Returns:
        None without a margin, and where none passes or several do of which none is the simplest.
    """
    if margin <= 0:
        return None
    passing = [arm for arm in arms if all(
        _least(arm, item) > -margin for item in found if arm in (item.a, item.b))]
    least = [arm for arm in passing if not any(simpler(other, arm) for other in passing)]
    return least[0] if len(least) == 1 else None


def _least(arm: Option, item: Difference) -> float:
    """The lower end of the difference `arm` minus the other one."""
    return item.difference.low if item.a == arm else -item.difference.high


def without(arm: Option, other: Option) -> str:
    """The parts that `other` has and `arm` goes without, in words."""
    return " and ".join(sorted(_PARTS[other] - _PARTS[arm]))
