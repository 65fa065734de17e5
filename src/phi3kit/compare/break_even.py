"""From which volume on one arm costs less than another: two straight lines that cross.

Both lines are a month's cost by its questions: what comes with the refreshes, whether anybody
asks or not, and what each question adds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from phi3kit.records import Arm, BreakEven


@dataclass(frozen=True, slots=True)
class Line:
    """What an arm costs in a month: `fixed + each * questions`.

    Attributes:
        correct: share of its answers that are right, for the sentence.
    """

    arm: Arm
    fixed: float
    each: float
    correct: float


def break_evens(lines: Sequence[Line]) -> tuple[BreakEven, ...]:
    """Where two of the lines cross at more than zero questions, the fewest questions first.

    Arms of which one costs less at any volume do not cross and are left out.
    """
    found = [point for a, b in itertools.combinations(lines, 2)
             for point in (_crossing(a, b), _crossing(b, a)) if point is not None]
    return tuple(sorted(found, key=lambda point: point.questions))


def _crossing(steady: Line, busy: Line) -> BreakEven | None:
    """From where on `steady`, the dearer of the two at first, is the cheaper one."""
    ahead, gain = steady.fixed - busy.fixed, busy.each - steady.each
    if not (ahead > 0 and gain > 0):
        return None
    questions = ahead / gain
    if not math.isfinite(questions):  # costs so alike that no float holds where they cross
        return None
    return BreakEven(
        steady.arm, busy.arm, questions,
        f"From {math.ceil(questions):,} questions a month on, {steady.arm} costs less than "
        f"{busy.arm}; of its answers {steady.correct:.0%} are right, of those of {busy.arm} "
        f"{busy.correct:.0%}.")
