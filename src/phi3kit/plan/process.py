"""Resident memory of a training process on a CPU, beside its tensors.

Two terms, both measured (docs/measured/calibration.json, written by scripts/bench/calibration):
what the libraries take once they have computed a step, and what the C library's allocator keeps
of freed activations and cannot give to others, as a share of the activations. The allocator
keeps freed blocks because rows of the next width need blocks of other sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from phi3kit.plan.step import End

LIBRARIES_BYTES: Mapping[End, int] = MappingProxyType(
    {"low": 600 * 10**6, "expected": 700 * 10**6, "high": 800 * 10**6})
ALLOCATOR_SHARE: Mapping[End, float] = MappingProxyType(
    {"low": 0.3, "expected": 0.7, "high": 1.0})


def overhead(parts: Mapping[str, int], end: End) -> int:
    """Bytes of the process that are no tensor's.

    Args:
        parts: of the step; its activations count.
        end: of the range.
    """
    return LIBRARIES_BYTES[end] + int(ALLOCATOR_SHARE[end] * parts["activations"])
