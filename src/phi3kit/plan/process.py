"""Resident memory of a training process on a CPU, beside its tensors.

The libraries, the kernels that they made, and what the C library's allocator keeps of freed
blocks. `finetune` keeps it small (finetune/lean.py), but rows of another width need blocks of
another size, so that it goes up and down by a tenth of a gigabyte with the order in which rows are
drawn. Least is kept where every lane computes rows like the others'. More where a row too long for
a lane is computed alone, for what the lanes had lies in other pieces; and where activations are
recomputed, or everything trains, for then blocks stay while those around them come and go.

All were fitted by hand to rows of 2 to 21 steps, of a machine with two cores, that
docs/measured/calibration.json keeps, and that of float32 to those of calibration-float32.json, of
another one. So the errors there tell how well these numbers fit them all, not how well they
foretell another machine's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from phi3kit.plan.step import End, Method, Step

LIBRARIES_BYTES: Mapping[End, int] = MappingProxyType(
    {"low": 650 * 10**6, "expected": 780 * 10**6, "high": 1000 * 10**6})
# What the allocator keeps, as a share of the activations: of lanes side by side,
BESIDE_SHARE: Mapping[End, float] = MappingProxyType({"low": 0.03, "expected": 0.12, "high": 0.3})
# of a pass by itself,
ALONE_SHARE: Mapping[End, float] = MappingProxyType({"low": 0.2, "expected": 0.45, "high": 0.7})
# where they are recomputed,
AGAIN_SHARE: Mapping[End, float] = MappingProxyType({"low": 0.3, "expected": 0.9, "high": 1.5})
# and where everything trains.
HOLES_SHARE: Mapping[End, float] = MappingProxyType({"low": 0.3, "expected": 0.55, "high": 0.8})
# In float32, of an adapter: its blocks have pages of their own, so that nothing is kept of them.
FLOAT32_BYTES: Mapping[End, int] = MappingProxyType(
    {"low": 500 * 10**6, "expected": 650 * 10**6, "high": 850 * 10**6})


def overhead(parts: Mapping[str, int], method: Method, step: Step, end: End) -> int:
    """Bytes of the process that are no tensor's.

    Args:
        parts: of the step; its activations count.
        method: how it trains.
        step: what it computes at once.
        end: of the range.
    """
    if step.float32 and method != "full":
        return FLOAT32_BYTES[end]
    share = (HOLES_SHARE if method == "full" else AGAIN_SHARE if step.checkpointing else
             ALONE_SHARE if step.lanes == 1 else BESIDE_SHARE)
    return LIBRARIES_BYTES[end] + int(share[end] * parts["activations"])
