"""How the training loss of the compared adapters fell, from their run folders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from phi3kit.finetune import metrics
from phi3kit.records import Arm, LossCurve

# More points than this show no more on a page.
_POINTS = 200


def loss_curves(adapters: Mapping[Arm, Path]) -> tuple[LossCurve, ...]:
    """One curve for each adapter beside which its training's metrics lie.

    Args:
        adapters: the adapter's folder by arm.
    """
    found = []
    for folder in dict.fromkeys(adapters.values()):
        points = _points(folder.parent)
        if points:
            arms = tuple(arm for arm, path in adapters.items() if path == folder)
            found.append(LossCurve(arms, str(folder.parent), points))
    return tuple(found)


def _points(run: Path) -> tuple[tuple[int, float], ...]:
    """(last step, mean loss) of equally long runs of steps."""
    steps = [(int(line["step"]), float(line["loss"])) for line in metrics.read(run)]
    each = math.ceil(len(steps) / _POINTS) or 1
    parts = [steps[begin:begin + each] for begin in range(0, len(steps), each)]
    return tuple((part[-1][0], math.fsum(loss for _, loss in part) / len(part))
                 for part in parts)
