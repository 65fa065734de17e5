"""The rows of one optimizer step, split so that little padding is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phi3kit.dataset.encode import IGNORED, Encoded
from phi3kit.finetune.packing import balanced, packs

# Widths are multiples of it: a CPU's matrix library sets itself up anew for each shape that it
# has not met, which costs more than the padding (8 % of an epoch over rows of 40 to 700 tokens).
_STEP = 16


def padded_width(length: int, window: int | None = None) -> int:
    """Tokens that a row of `length` tokens has as the longest of its micro-batch.

    Args:
        window: tokens that the model's attention looks back over. From as many on transformers
            gives it a mask, which fast kernels do not take: padding alone shall not lead there.
    """
    width = -(-length // _STEP) * _STEP
    return width if window is None or length >= window else min(width, window - 1)


def micro_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Rows grouped by length, each group at most `budget` tokens when padded.

    Args:
        lengths: tokens of each row.
        budget: rows times longest row, at most; a longer row is a group of its own.

    Returns:
        Indices of the rows, the groups with the longest rows first: when memory does not
        suffice, that shows at once.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        # Rows come longest first, so the group's first row is its width.
        if groups and lengths[groups[-1][0]] * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def step_groups(widths: Sequence[int], budget: int, *, room: int, lanes: int,
                processes: int = 1, packed: bool = False) -> list[list[int]]:
    """The micro-batches of an optimizer step, shared out over processes and lanes.

    Args:
        widths: tokens of each row, as it is computed.
        budget: tokens of a micro-batch, at most, with all cores of a process on it.
        room: the same for one that is computed beside others (see `lanes`); longer rows are
            computed with all cores, so that lanes would gain nothing from a part of them each.
        lanes: of a process, that compute a micro-batch each at the same time.
        processes: that do so.

    Returns:
        Indices of the rows; groups of longer rows come first.
    """
    long = [at for at, width in enumerate(widths) if width > room]
    short = [at for at, width in enumerate(widths) if width <= room]

    def grouped(part: list[int], tokens: int, workers: int) -> list[list[int]]:
        lengths = [widths[at] for at in part]
        if packed:
            found = packs(lengths, tokens) if workers == 1 else balanced(lengths, tokens, workers)
        else:  # small enough that there is one for each
            most = tokens if workers == 1 else min(tokens, -(-sum(widths) // workers))
            found = micro_batches(lengths, most)
        return [[part[at] for at in group] for group in found]

    return [*grouped(long, budget, processes), *grouped(short, room, processes * lanes)]


class Collator:
    """Rows of one optimizer step to its micro-batches.

    Rows are padded on the right. A causal model's tokens never see what stands to the right
    of them, and padding carries no label, so no attention mask is needed: attention takes its
    fast causal path, and what stands in the padding cannot matter.

    Packed, the rows of a micro-batch are laid end to end in one row instead, with positions
    that begin anew in each; only its end is padded, to a width that was met before.
    """

    def __init__(self, pad_id: int, budget: int, processes: int = 1, *,
                 packed: bool = False, lanes: int = 1, room: int | None = None,
                 window: int | None = None) -> None:
        self._pad_id = pad_id
        self._budget = budget
        self._lanes, self._processes = lanes, processes
        self._room = budget if room is None else room
        self._packed = packed
        self._window = window

    def __call__(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        """{"micro": [{"input_ids", "labels": int64[rows, width]}, …], "tokens", "trained"}.

        Packed, each has one row, and "position_ids" of the same shape.
        """
        import torch

        def padded(group: list[int], field: str, fill: int) -> Any:
            width = max(widths[i] for i in group)
            return torch.tensor([[*getattr(rows[i], field),
                                  *[fill] * (width - len(rows[i].input_ids))] for i in group])

        def end_to_end(group: list[int]) -> dict[str, Any]:
            ids = [token for i in group for token in rows[i].input_ids]
            # A first token is predicted from nothing, least of all from another example's last.
            labels = [label for i in group for label in (IGNORED, *rows[i].labels[1:])]
            positions = [at for i in group for at in range(len(rows[i].input_ids))]
            rest = padded_width(len(ids)) - len(ids)
            return {"input_ids": torch.tensor([[*ids, *[self._pad_id] * rest]]),
                    "labels": torch.tensor([[*labels, *[IGNORED] * rest]]),
                    "position_ids": torch.tensor([[*positions, *range(rest)]])}

        lengths = [len(row.input_ids) for row in rows]
        widths = lengths if self._packed else [
            padded_width(length, self._window) for length in lengths]
        groups = step_groups(widths, self._budget, room=self._room, lanes=self._lanes,
                             processes=self._processes, packed=self._packed)
        if self._packed:
            micro = [end_to_end(group) for group in groups]
        else:
            micro = [{"input_ids": padded(group, "input_ids", self._pad_id),
                      "labels": padded(group, "labels", IGNORED)} for group in groups]
        return {
            "micro": micro,
            "tokens": sum(len(row.input_ids) for row in rows),
            "trained": sum(row.trained for row in rows),
        }
