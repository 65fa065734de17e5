"""A line in log2 of the examples: its value, its uncertainty, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from phi3kit.compare.extrapolate import extrapolate
from phi3kit.compare.intervals import Method

METHOD = Method(0.95, 2000, 0)


def flat(*means: float, questions: int = 40) -> tuple[list[list[float]], list[str]]:
    """Questions that all have the same value at a size, in clusters of two."""
    return ([[mean] * questions for mean in means],
            [f"d{i // 2}.md" for i in range(questions)])


def noisy(means: list[float], *, questions: int, seed: int,
          luck: float = 0.0) -> tuple[list[list[float]], list[str]]:
    """Right or wrong by chance about `means`, each size's training with its own luck."""
    draws = np.random.default_rng(seed)
    hard = draws.normal(0, 0.15, questions)
    shifts = draws.normal(0, luck, len(means)) if luck else np.zeros(len(means))
    values = [(draws.random(questions) < np.clip(mean + shift + hard, 0, 1)).astype(float).tolist()
              for mean, shift in zip(means, shifts, strict=True)]
    return values, [f"d{i // 2}.md" for i in range(questions)]


def test_a_perfect_line_goes_on() -> None:
    values, clusters = flat(0.2, 0.3, 0.4)
    found = extrapolate("finetune", (25, 50, 100), values, clusters, METHOD)
    assert found.examples == 200
    assert found.value.mean == pytest.approx(0.5)
    assert (found.gain.mean, found.gain.low, found.gain.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.sentence == (
        "finetune: with twice the examples, 200 instead of 100, about 0.50 is to be expected, "
        "+0.10 (+0.10 to +0.10): more examples would pay.")


def test_sizes_need_not_be_doublings() -> None:
    sizes = (10, 40, 60, 200)
    values, clusters = flat(*(0.1 + 0.07 * float(np.log2(size)) for size in sizes))
    found = extrapolate("both", sizes, values, clusters, METHOD)
    assert found.value.mean == pytest.approx(0.1 + 0.07 * float(np.log2(400)))
    assert found.gain.mean == pytest.approx(0.07)


def test_the_fit_is_that_of_least_squares_on_all_questions() -> None:
    values, clusters = noisy([0.3, 0.35, 0.5, 0.45], questions=60, seed=1)
    sizes = (10, 20, 40, 80)
    found = extrapolate("finetune", sizes, values, clusters, METHOD)
    x: np.ndarray = np.repeat(np.log2(sizes), 60)
    slope, intercept = np.polyfit(x, np.concatenate(values), 1)
    assert found.value.mean == pytest.approx(slope * np.log2(160) + intercept)
    assert found.gain.mean == pytest.approx(found.value.mean - np.mean(values[-1]))


def test_the_fits_own_error_is_that_of_a_new_observation() -> None:
    # All questions alike: nothing is left to the bootstrap. Means (0.2, 0.3, 0.2) about a flat
    # line at 7/30: s = sqrt(0.06 / 9); at the next doubling sqrt(1 + 1/3 + 4/2) of it.
    values, clusters = flat(0.2, 0.3, 0.2)
    found = extrapolate("finetune", (25, 50, 100), values, clusters, Method(0.5, 1000, 0))
    s = (0.06 / 9) ** 0.5
    assert found.value.mean == pytest.approx(7 / 30)
    assert found.value.high - found.value.mean == pytest.approx(s * (10 / 3) ** 0.5)  # t is 1
    assert "cannot be told yet" in found.sentence


def test_a_score_stays_a_score() -> None:
    values, clusters = flat(0.5, 0.7, 0.9)
    found = extrapolate("finetune", (25, 50, 100), values, clusters, METHOD)
    assert (found.value.mean, found.value.high) == (1.0, 1.0)
    assert found.gain.mean == pytest.approx(0.1)


def test_a_curve_that_falls_does_not_pay() -> None:
    values, clusters = flat(0.5, 0.45, 0.4)
    found = extrapolate("finetune", (25, 50, 100), values, clusters, METHOD)
    assert found.gain.high < 0
    assert found.sentence.endswith("−0.05 (−0.05 to −0.05): more examples would not pay.")


def test_a_curve_without_slope_does_not_pay_whatever_rounding_does() -> None:
    # Some questions always right, the others never: they differ, the sizes do not.
    values = [[1 / 3] * 20 + [0.1] * 20] * 3
    clusters = [f"d{i // 20}.md" for i in range(40)]
    found = extrapolate("both", (20, 40, 70), values, clusters, METHOD)
    assert found.sentence.endswith("0.00 (0.00 to 0.00): more examples would not pay.")


def test_a_curve_that_never_left_the_floor_tells_nothing() -> None:
    values, clusters = flat(0.0, 0.0, 0.0)
    found = extrapolate("finetune", (20, 40, 80), values, clusters, METHOD)
    assert (found.gain.mean, found.gain.low, found.gain.high) == pytest.approx((0, 0, 1))
    assert found.sentence.endswith("0.00 (0.00 to +1.00): whether more examples would pay "
                                   "cannot be told yet.")


def test_there_is_nothing_to_gain_at_the_ceiling() -> None:
    values, clusters = flat(1.0, 1.0, 1.0)
    found = extrapolate("finetune", (20, 40, 80), values, clusters, METHOD)
    assert found.gain.high == pytest.approx(0)
    assert found.sentence.endswith("more examples would not pay.")


def test_one_document_tells_nothing() -> None:
    values, _ = flat(0.2, 0.3, 0.4)
    found = extrapolate("finetune", (25, 50, 100), values, ["d.md"] * 40, METHOD)
    assert (found.value.low, found.value.high) == (0, 1)
    assert (found.gain.low, found.gain.high) == pytest.approx((-0.4, 0.6))


def test_two_sizes_are_refused() -> None:
    values, clusters = flat(0.2, 0.3)
    with pytest.raises(ValueError, match="any two"):
        extrapolate("finetune", (25, 50), values, clusters, METHOD)


@pytest.mark.parametrize("sizes", [3, 4, 5])
def test_it_promises_a_gain_where_there_is_none_in_few_cases(sizes: int) -> None:
    said = 0
    for seed in range(150):
        values, clusters = noisy([0.4] * sizes, questions=60, seed=seed, luck=0.03)
        found = extrapolate("finetune", [10 * 2**i for i in range(sizes)], values, clusters,
                            Method(0.95, 1000, seed))
        said += found.sentence.endswith(": more examples would pay.")
    # One side of 95% is 2.5%, 4 of 150; both errors added make it fewer.
    assert said <= 8


def test_a_steep_curve_is_seen_with_five_sizes() -> None:
    said = 0
    for seed in range(50):
        values, clusters = noisy([0.1, 0.25, 0.4, 0.55, 0.7], questions=200, seed=seed)
        found = extrapolate("finetune", [10, 20, 40, 80, 160], values, clusters,
                            Method(0.95, 1000, seed))
        said += found.sentence.endswith(": more examples would pay.")
    assert said >= 25
