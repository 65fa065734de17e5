"""What a training computes at once: a forward and backward pass, or as many as there are lanes.

The plan counts the memory of the fullest. A run notes what it computed; before, or where it did
not, some epochs are drawn.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi3kit.finetune.attention import lengths_of
from phi3kit.finetune.batches import padded_width, step_groups
from phi3kit.finetune.lanes import Lanes, Micro
from phi3kit.settings import FinetuneSettings

if TYPE_CHECKING:
    from torch import Tensor

_SHUFFLES = 20  # epochs that are drawn to find the fullest
_MOST = 2_000_000  # rows times the rows of a step that are looked at: a second


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Rows of equal width that hold as much as those that are computed at once.

    Attributes:
        width: tokens of a row, padding included.
        rows: of all lanes.
        lanes: that compute them, each a part.
    """

    width: int
    rows: int
    lanes: int = 1


def computed(micro: Sequence[Micro], lanes: Lanes | None, *, device: str) -> set[AtOnce]:
    """Of an optimizer step.

    Args:
        micro: its micro-batches, as they are given to the model.
        lanes: that compute them; None: one by one.
        device: "cpu", "cuda" or "mps".
    """
    alone, beside = (list(micro), []) if lanes is None else lanes.divided(micro)
    found = {_of([one], device) for one in alone}
    if beside:  # each begins with its fullest
        found.add(_of([share[0] for share in beside], device))
    return found


def drawn(lengths: Sequence[int], own: FinetuneSettings, held: int, *, processes: int,
          lanes: int, device: str) -> set[AtOnce]:
    """Of some shuffled epochs: the fullest comes close to that of many steps, and above a few.

    Args:
        lengths: tokens of each example.
        held: tokens that a pass, and all lanes together, may have.
        lanes: that compute side by side on a CPU.
    """
    rng = random.Random(own.seed)
    packed = own.packing or (device == "cpu" and not own.dropout)
    order = list(lengths)
    found: set[AtOnce] = set()
    epochs = max(1, min(_SHUFFLES, _MOST // (len(order) * own.batch_size)))
    for _ in range(epochs):
        rng.shuffle(order)
        starts = range(0, len(order), own.batch_size)
        for start in itertools.islice(starts, max(1, _MOST // own.batch_size**2)):
            batch = order[start:start + own.batch_size]
            widths = batch if packed else [padded_width(length) for length in batch]
            room = max(1, held // lanes)
            groups = [[widths[at] for at in group] for group in step_groups(
                widths, held, room=room, lanes=lanes, processes=processes, packed=packed)]
            if packed:
                groups = [_padded(rows) for rows in groups]
            for rows, beside in _together(groups, room, lanes):
                if packed and device != "cpu":
                    found.add(AtOnce(sum(rows), 1))
                elif packed:
                    found.add(_equal(rows, beside))
                else:
                    found.add(AtOnce(max(rows), len(rows)))
    return found


def _padded(rows: list[int]) -> list[int]:
    """With what is padded at their end, which is a row of its own (see `Collator`)."""
    rest = padded_width(sum(rows)) - sum(rows)
    return [*rows, rest] if rest else rows


def _together(groups: Sequence[list[int]], room: int, lanes: int,
              ) -> Iterator[tuple[list[int], int]]:
    """The rows of each group, or of the fullest of each lane, and how many lanes these are."""
    short = sorted((group for group in groups if sum(group) <= room), key=sum, reverse=True)
    if lanes == 1 or len(short) < 2:
        yield from ((group, 1) for group in groups)
        return
    yield from ((group, 1) for group in groups if sum(group) > room)
    fullest = short[:lanes]
    yield [row for group in fullest for row in group], len(fullest)


def _of(micro: Sequence[Micro], device: str) -> AtOnce:
    """Of micro-batches that are computed side by side."""
    rows = [length for one in micro for length in _rows(one["input_ids"], one.get("position_ids"),
                                                        device)]
    return _equal(rows, len(micro))


def _rows(ids: Tensor, positions: Tensor | None, device: str) -> list[int]:
    """Tokens of each row, as attention sees them: on a CPU those that are laid end to end apart."""
    count, width = ids.shape
    if device == "cpu" and count == 1:
        return lengths_of(positions, width)
    return [width] * count


def _equal(rows: Sequence[int], lanes: int) -> AtOnce:
    """As many tokens in rows of one width, of which each token sees as many."""
    tokens = sum(rows)
    seen = sum(length * length for length in rows) / tokens
    count = max(1, round(tokens / seen))
    return AtOnce(math.ceil(tokens / count), count, lanes)
