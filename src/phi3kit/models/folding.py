"""Adapters added into weights, and taken out again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Folded:
    """Weights with and without the adapter: (parameter, the base's values, both's values)."""

    weights: tuple[tuple[Any, Any, Any], ...]

    def show(self, *, adapted: bool) -> None:
        """Let the model compute with the adapter, or without it."""
        for parameter, base, both in self.weights:
            parameter.data = both if adapted else base


def folding(layers: Iterable[Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Each layer's weight: (parameter, the base's values, both's values in the same type).

    The sum is taken in float32 and rounded once. The weights are left as they were.

    Args:
        layers: peft's layers, each around one of the base's.
    """
    import torch

    for layer in layers:
        parameter = layer.get_base_layer().weight
        base = parameter.data
        parameter.data = base.to(torch.float32, copy=True)  # merging works in place
        layer.merge()
        both = parameter.data.to(base.dtype)
        parameter.data = base
        yield parameter, base, both
