"""The base that advice is about, and the one that a command would load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phi3kit.errors import ModelError
from phi3kit.models.bases import is_here, resolve_base
from phi3kit.models.catalog import find
from phi3kit.plan.shapes import shape_of
from phi3kit.settings import ModelSettings

_ALIKE = 0.01  # sizes are said in two or three figures


def can_be_loaded(name: str) -> bool:
    """False for a bare size, and for what can be planned for only."""
    spec = find(name)
    if spec is not None:
        return spec.loadable
    try:
        resolve_base(name)
    except ModelError:
        return False
    return True


def billions_of(model: ModelSettings) -> float | None:
    """Weights of the base in billions; None where this machine does not tell. No hub is asked."""
    try:
        if find(model.name) is None and not is_here(model.name, model.revision):
            return None
        return shape_of(model.name, model.revision).parameters / 1e9
    except ModelError:
        return None


def same_size(size_b: float, other_b: float) -> bool:
    """Whether two sizes may be those of one model."""
    return abs(other_b - size_b) <= _ALIKE * size_b


def other_size_note(advice: Mapping[str, Any] | None, model: ModelSettings) -> tuple[str, ...]:
    """A line where a prediction was made for a model of another size than the base; else none.

    Args:
        advice: the prediction, if there is one.
        model: the base that it is put to the test on.
    """
    size = ((advice or {}).get("scenario") or {}).get("model_size_b")
    has = billions_of(model)
    if not isinstance(size, int | float) or has is None or same_size(size, has):
        return ()
    return (f"The advice was for a model of {size:g}B weights, and {model.name} has {has:.3g}B: "
            "how it fares here does not tell how it would there.",)
