"""The advice before a comparison and after it: the same answers, what was measured counted in."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from phi3kit.advise.score import advise
from phi3kit.errors import DataError
from phi3kit.progress import note
from phi3kit.records import Comparison, Revised


def with_revised(comparison: Comparison) -> Comparison:
    """The comparison with what the rules advise after it, where the answers of before are known.

    Made anew whenever a comparison is read: the requirements in it name latencies, which a
    clock decides, and a run that was kept before there was such a record gains one.
    """
    return dataclasses.replace(comparison, revised=_revise(comparison))


def _revise(comparison: Comparison) -> Revised | None:
    advice, before = comparison.advice or {}, comparison.verdict.prediction
    answers = advice.get("scenario")
    if before is None or not isinstance(answers, dict):
        return None
    try:
        after = advise(answers, comparison=comparison)
    except DataError as error:
        # The advice is a file, maybe by another hand; the comparison stands without it.
        note(f"the advice after the comparison is not known: {error}")
        return None
    return Revised(
        before=before, before_confidence=_share(advice.get("confidence")),
        after=after.recommendation, confidence=after.confidence, decided=after.decided,
        basis=after.basis, requirements=after.comparison.requirements if after.comparison else ())


def _share(value: Any) -> float | None:
    """`value` as a share; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= 1 else None
