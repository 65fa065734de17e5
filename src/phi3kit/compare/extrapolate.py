"""What twice the examples would bring, if the curve goes on as it has so far.

Scores of models rise about linearly in the logarithm of the examples over a stretch, before
they level off (Hestness et al. 2017, Deep Learning Scaling is Predictable, Empirically). So a
line in log2 of the examples is fitted and read one doubling further. Where the curve has begun
to level off, that promises too much; the fit's own error tells, if there are sizes enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from phi3kit.compare.intervals import Method, resampled
from phi3kit.records import Arm, Extrapolation, Interval

# With two sizes every line fits, and nothing tells how well.
SIZES = 3
# A gain that rounds to 0.00 is none.
_NOTHING = 0.005


def extrapolate(arm: Arm, sizes: Sequence[int], values: Sequence[Sequence[float]],
                clusters: Sequence[str], method: Method) -> Extrapolation:
    """The expected mean at twice the largest size, and the gain over the mean measured there.

    Least squares on the questions' values. As each question is asked at each size, the line's
    value at any size is a mean over questions of a fixed weighing of their values, and its
    uncertainty from the questions is the cluster bootstrap's. To it the fit's own is added,
    in squares: the standard error of a new observation, from the means' distances to the line
    by Student's t with (sizes - 2) degrees of freedom (Draper & Smith 1998, Applied Regression
    Analysis, 1.4). It stands for the luck of single trainings and for a curve that is no line.
    Both hold some of the questions' noise, so that the intervals are rather too wide; with
    three sizes t is 12.7 at 95%, and little can be told unless they lie on a line.

    Args:
        arm: whose curve it is.
        sizes: three or more, ascending and different.
        values: for each size, each question's value, in one order of questions.
        clusters: each question's source document.
        method: level, resamples and seed of the bootstrap.

    Where all answers score the same at every size, nothing varies that could be drawn again,
    and the intervals are all that a score can be: a curve that has not left 0 may yet rise.

    Returns:
        Means and intervals within what a score can be, 0 to 1, and a gain, -1 to 1.
    """
    import numpy as np
    from scipy import stats

    if len(sizes) < SIZES:
        raise ValueError(f"{len(sizes)} sizes: a line fits any two")
    scores = np.asarray(values, dtype=float)
    at = np.log2(np.asarray(sizes, dtype=float))
    weights = _weights(at, at[-1] + 1)
    last = np.zeros(len(sizes))
    last[-1] = 1.0
    means = scores.mean(axis=1)
    slope, intercept = np.polyfit(at, means, 1)
    free = len(sizes) - 2
    spread = math.sqrt(float(((means - slope * at - intercept) ** 2).sum()) / free)
    told = bool(scores.min() < scores.max())
    quantile = float(stats.t.isf((1 - method.confidence) / 2, free))

    def found(combined: Any, bounds: tuple[float, float]) -> Interval:
        values = (combined @ scores).tolist()
        if not told:
            return Interval(values[0], *bounds)
        drawn = resampled(list(zip(clusters, values, strict=True)), method, bounds=bounds)
        own = quantile * spread * math.sqrt(1 + float((combined ** 2).sum()))
        return _within(Interval(drawn.mean, drawn.mean - math.hypot(drawn.mean - drawn.low, own),
                                drawn.mean + math.hypot(drawn.high - drawn.mean, own)), bounds)

    value = found(weights, (0.0, 1.0))
    now = float(means[-1])
    # No more can be gained than is left, nor more lost than is there.
    gain = _within(found(weights - last, (-1.0, 1.0)), (-now, 1.0 - now))
    return Extrapolation(arm, 2 * sizes[-1], value, gain, _sentence(arm, sizes, value, gain))


def _weights(at: Any, where: float) -> Any:
    """What each place of `at` weighs in the least-squares line's value at `where`: an array."""
    away = at - at.mean()
    return 1 / len(at) + (where - at.mean()) * away / (away ** 2).sum()


def _within(found: Interval, bounds: tuple[float, float]) -> Interval:
    low, high = bounds
    return Interval(*(min(max(value, low), high) for value in (found.mean, found.low, found.high)))


def _sentence(arm: Arm, sizes: Sequence[int], value: Interval, gain: Interval) -> str:
    expected = (f"{arm}: with twice the examples, {2 * sizes[-1]:,} instead of {sizes[-1]:,}, "
                f"about {value.mean:.2f} is to be expected, {_signed(gain.mean)} "
                f"({_signed(gain.low)} to {_signed(gain.high)})")
    if gain.low >= _NOTHING:
        return f"{expected}: more examples would pay."
    if gain.high < _NOTHING:
        return f"{expected}: more examples would not pay."
    return f"{expected}: whether more examples would pay cannot be told yet."


def _signed(value: float) -> str:
    """Two decimals with a sign, none for zero."""
    text = f"{abs(value):.2f}"
    return text if text == "0.00" else f"{'−' if value < 0 else '+'}{text}"
