"""Resident memory of a training process on a CPU, beside its tensors.

Two terms: what the libraries take once they have computed a step, and what the C library's
allocator keeps of freed activations and cannot give to others, as a share of the activations. The
allocator keeps freed blocks because rows of the next width need blocks of other sizes.

All were fitted by hand, to training runs that scripts/bench/calibration made on machines with two
cores: the libraries on another one, the shares without checkpointing to the very rows that
docs/measured/calibration.json keeps, since each core trains a micro-batch of its own. So its errors
tell how well one share fits them all, not how well it foretells another machine's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from phi3kit.plan.step import End

LIBRARIES_BYTES: Mapping[End, int] = MappingProxyType(
    {"low": 600 * 10**6, "expected": 700 * 10**6, "high": 800 * 10**6})
ALLOCATOR_SHARE: Mapping[End, float] = MappingProxyType(
    {"low": 0.1, "expected": 0.52, "high": 0.9})
# Checkpointing recomputes each layer: more is freed and taken again within a step.
CHURNED_SHARE: Mapping[End, float] = MappingProxyType(
    {"low": 1.2, "expected": 1.9, "high": 2.6})


def overhead(parts: Mapping[str, int], end: End, *, checkpointing: bool = False) -> int:
    """Bytes of the process that are no tensor's.

    Args:
        parts: of the step; its activations count.
        end: of the range.
        checkpointing: activations are recomputed.
    """
    share = (CHURNED_SHARE if checkpointing else ALLOCATOR_SHARE)[end]
    return LIBRARIES_BYTES[end] + int(share * parts["activations"])
