"""Resident memory of a training process on a CPU, beside its tensors.

The libraries, the kernels that they made, and what the C library's allocator keeps of freed
blocks. `finetune` keeps it small (finetune/lean.py), but rows of another width need blocks of
another size, so that it goes up and down by 0.15 GB with the order in which rows are drawn, in
float32 by 0.3. Where everything trains, gradients stay while the activations around them go, and
leave holes.

Over many steps it grows, for oneDNN keeps the code of every kernel that it makes for a new shape:
by 0.4 to 0.5 GB in 12 steps on rows of 40 to 700 tokens, by nothing in 21 steps on rows of like
length. Neither is known before the data are, so that the high end alone has room for it.

All were fitted by hand to rows of two steps, of a machine with two cores, as those that
docs/measured/calibration.json and, in float32, calibration-float32.json keep. So the errors there
tell how well these numbers fit them all, not how well they foretell another machine's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from phi3kit.plan.step import End, Method

LIBRARIES_BYTES: Mapping[End, int] = MappingProxyType(
    {"low": 650 * 10**6, "expected": 800 * 10**6, "high": 1500 * 10**6})
# What the allocator keeps, as a share of the activations.
KEPT_SHARE: Mapping[End, float] = MappingProxyType({"low": 0.05, "expected": 0.19, "high": 0.4})
# The same where everything trains; and in float32, whose blocks are twice as large.
HOLES_SHARE: Mapping[End, float] = MappingProxyType({"low": 0.3, "expected": 0.55, "high": 0.8})
FLOAT32_BYTES: Mapping[End, int] = MappingProxyType(
    {"low": 900 * 10**6, "expected": 1200 * 10**6, "high": 1600 * 10**6})


def overhead(parts: Mapping[str, int], method: Method, end: End, *, float32: bool) -> int:
    """Bytes of the process that are no tensor's.

    Args:
        parts: of the step; its activations count.
        method: how it trains.
        end: of the range.
        float32: the arithmetic.
    """
    if method == "full":
        return LIBRARIES_BYTES[end] + int(HOLES_SHARE[end] * parts["activations"])
    if float32:
        return FLOAT32_BYTES[end]
    return LIBRARIES_BYTES[end] + int(KEPT_SHARE[end] * parts["activations"])
