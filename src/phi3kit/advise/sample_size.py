"""How many questions tell two options apart: one formula, before a comparison and after it."""

from __future__ import annotations

from statistics import NormalDist

# Chance that so many questions show a difference as large as the one planned for.
POWER = 0.8


def questions_for(difference: float, spread: float, *, confidence: float = 0.95,
                  pairs: int = 1, power: float = POWER) -> float:
    """Questions at which a paired difference is found, n = ((z_level + z_power) · sd / d)².

    Normal approximation for paired differences (Miller 2024, Adding Error Bars to Evals,
    arXiv:2411.00640, section 5), two-sided, at the strictest level of Holm's procedure over
    all pairs of options that run.

    Args:
        difference: of the mean scores; its sign does not matter.
        spread: standard deviation of the differences question by question; for questions that
            are clustered by document, their standard error times the root of their number.
        confidence: 0 to 1, of the verdict.
        pairs: pairs of options that are tested together.
        power: 0 to 1, chance to find the difference when it is there.

    Returns:
        The number of questions, not rounded.

    Raises:
        ZeroDivisionError: `difference` is 0.
    """
    normal = NormalDist()
    reach = -normal.inv_cdf((1 - confidence) / 2 / pairs) + normal.inv_cdf(power)
    needed: float = (reach * spread / difference) ** 2
    return needed
