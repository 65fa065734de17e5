"""Resident memory of a training process on a CPU, beside its tensors.

The libraries, the kernels that oneDNN made, and what the C library's allocator keeps of freed
blocks: nearly the same for every adapter, since `finetune` keeps it small (finetune/lean.py). It
goes up and down by 0.15 GB with the order in which rows are drawn. Full fine-tuning adds a share of
the activations: gradients stay while the activations around them go.

Both were fitted by hand to the rows that docs/measured/calibration.json keeps, of a machine with
two cores. So its errors tell how well two numbers fit them all, not how well they foretell another
machine's; calibration-float32.json was measured after that.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from phi3kit.plan.step import End, Method

LIBRARIES_BYTES: Mapping[End, int] = MappingProxyType(
    {"low": 700 * 10**6, "expected": 900 * 10**6, "high": 1200 * 10**6})
# Gradients of a whole model stay while the activations around them go, and leave holes.
HOLES_SHARE: Mapping[End, float] = MappingProxyType({"low": 0.3, "expected": 0.5, "high": 0.8})


def overhead(parts: Mapping[str, int], method: Method, end: End) -> int:
    """Bytes of the process that are no tensor's.

    Args:
        parts: of the step; its activations count.
        method: how it trains.
        end: of the range.
    """
    holes = HOLES_SHARE[end] * parts["activations"] if method == "full" else 0
    return LIBRARIES_BYTES[end] + int(holes)
