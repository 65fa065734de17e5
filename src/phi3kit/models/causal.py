"""The causal language model itself, whatever is around it."""

from __future__ import annotations

from typing import Any


def causal_of(model: Any) -> Any:
    """The causal language model itself, when an adapter may be around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
