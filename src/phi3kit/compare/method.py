"""How a kept comparison was reckoned: level, resamples and seed, as its conditions tell them."""

from __future__ import annotations

import msgspec

from phi3kit.compare.intervals import Method
from phi3kit.errors import RunError
from phi3kit.records import Comparison
from phi3kit.settings import CompareSettings


def method_of(comparison: Comparison) -> Method:
    """The method behind `comparison`; what its conditions do not tell is as usual.

    Raises:
        RunError: they tell something that `compare` would not have taken: the run was edited.
    """
    told = {name: comparison.conditions[name] for name in ("resamples", "seed")
            if name in comparison.conditions}
    try:
        chosen = msgspec.convert({**told, "confidence": comparison.confidence}, CompareSettings)
    except msgspec.ValidationError as error:
        raise RunError(f"the conditions in result.json cannot be used ({error})",
                       where=comparison.run, mend="Run phi3kit compare again") from error
    return Method(chosen.confidence, chosen.resamples, chosen.seed)
