"""Resident memory of a training process on a CPU, beside its tensors.

Two terms: what the libraries take once they have computed a step, and what the C library's
allocator keeps of freed activations and cannot give to others, as a share of the activations. The
allocator keeps freed blocks because rows of the next width need blocks of other sizes.

Both were fitted by hand, to the training runs that scripts/bench/calibration makes, on one machine
with two cores. Those first rows were not kept. How far the terms are off is what that script
measures, and docs/measured/calibration.json tells once it has been run with --write.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from phi3kit.plan.step import End

LIBRARIES_BYTES: Mapping[End, int] = MappingProxyType(
    {"low": 600 * 10**6, "expected": 700 * 10**6, "high": 800 * 10**6})
ALLOCATOR_SHARE: Mapping[End, float] = MappingProxyType(
    {"low": 0.3, "expected": 0.7, "high": 1.0})
# Where more is freed and taken again within a step: checkpointing recomputes each layer, full
# fine-tuning casts every weight and gradient.
CHURNED_SHARE: Mapping[End, float] = MappingProxyType(
    {"low": 1.2, "expected": 1.9, "high": 2.6})


def overhead(parts: Mapping[str, int], end: End, *, churning: bool = False) -> int:
    """Bytes of the process that are no tensor's.

    Args:
        parts: of the step; its activations count.
        end: of the range.
        churning: full fine-tuning, or gradient checkpointing.
    """
    share = (CHURNED_SHARE if churning else ALLOCATOR_SHARE)[end]
    return LIBRARIES_BYTES[end] + int(share * parts["activations"])
