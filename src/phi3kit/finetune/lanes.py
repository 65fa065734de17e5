"""Micro-batches side by side on a CPU, one on each core.

All cores on one product wait for each other after every operation of every layer, and what is
too small to be shared out runs on one of them alone: two cores are then 1.6 times as fast as one.
With a micro-batch each they are 1.9 times as fast, and where another process takes one of them
for a moment, only its own micro-batch waits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from phi3kit import runs
from phi3kit.models.kv_cache import longest

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import FinetuneSettings

# Python's lock lets one lane start an operation at a time, which is a tenth of a small model's
# pass: more lanes would wait for it. What cores are left over share the lanes' operations.
MOST_LANES = 4

Micro = Mapping[str, Any]


def lanes_for(loaded: Loaded, settings: FinetuneSettings) -> int:
    """How many micro-batches of this training can be computed side by side, 1 for none.

    On a CPU, of an adapter: the gradients of a whole model are too large to be held once per
    lane. Not with dropout, whose masks come from one generator in the order of the calls, nor in
    float16, whose scaler belongs to the ordinary backward.
    """
    if (loaded.device != "cpu" or settings.full or settings.dropout
            or loaded.dtype == "float16"):
        return 1
    import torch

    return min(MOST_LANES, int(torch.get_num_threads()))


def lanes_here(*, full: bool, dropout: float) -> int:
    """The same before torch is asked, for a CPU: by the cores that a training here would use."""
    if full or dropout:
        return 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal():
        return max(1, min(MOST_LANES, int(wanted)))
    return min(MOST_LANES, runs.cores())


def room_of(model: Any, budget: int, lanes: int) -> int:
    """Tokens that a micro-batch in a lane may have; all lanes together have `budget`.

    A longrope or dynamic model rotates by other factors beyond its first length, and keeps those
    of the last row that it saw for all: rows of both kinds must not meet.
    """
    return max(1, min(budget // lanes, longest(model) if lanes > 1 else budget))


class Lanes:
    """The threads of a training, each with its share of the cores.

    They stay from step to step, and with them what libraries keep for a thread.

    Args:
        count: how many.
        room: see `room_of`; larger micro-batches are computed one by one, with all cores.
    """

    def __init__(self, count: int, room: int) -> None:
        import torch

        self._count, self._room = count, room
        self._cores = torch.get_num_threads()
        # One pool per thread, so that the same lane is always the same one.
        self._threads = [ThreadPoolExecutor(1, f"lane {at}") for at in range(count)]

    def backward(self, parameters: Iterable[Any], micro: Sequence[Micro],
                 loss_of: Callable[[Micro], Any]) -> Any:
        """Add the gradients of the summed losses to those of `parameters`; return the sum.

        Which lane computes what, and the order in which sums are taken, depend on the shapes
        alone, so that the same step gives the same bits whenever it is done again.

        Args:
            parameters: those that are trained.
            micro: {"input_ids": int64[rows, width], …} each.
            loss_of: the loss of one of them, a scalar; called in several threads at once.
        """
        import torch

        trained = list(parameters)
        alone, lanes = self.divided(micro)
        losses = []
        for shares in ([alone], lanes):
            jobs = [thread.submit(self._with_cores, self._cores // len(shares),
                                  trained, share, loss_of)
                    for thread, share in zip(self._threads, shares, strict=False) if share]
            for loss, gradients in [job.result() for job in jobs]:
                losses.append(loss)
                for weight, new in zip(trained, gradients, strict=True):
                    if new is not None:
                        weight.grad = new if weight.grad is None else weight.grad.add_(new)
        torch.set_num_threads(self._cores)  # MKL has one number for all threads
        return torch.stack(losses).sum()

    def divided(self, micro: Sequence[Micro]) -> tuple[list[Micro], list[list[Micro]]]:
        """Those that are computed one by one, with all cores, and then those of each lane."""
        alone = [m for m in micro if m["input_ids"].numel() > self._room]
        lanes = shared_out([m for m in micro if m["input_ids"].numel() <= self._room],
                           self._count)
        if len(lanes) == 1:
            alone += lanes.pop()
        return alone, lanes

    @staticmethod
    def _with_cores(cores: int, *work: Any) -> Any:
        """What `_sum` gives; each operation takes so many cores."""
        import torch

        torch.set_num_threads(max(1, cores))
        return _sum(*work)


def shared_out(micro: Sequence[Micro], lanes: int) -> list[list[Micro]]:
    """Micro-batches by lane: the largest first, each to the lane with the fewest tokens so far.

    At most 4/3 - 1/(3 lanes) of the time of the best sharing (Graham 1969). Lanes that get none
    are left out.
    """
    shares: list[list[Micro]] = [[] for _ in range(lanes)]
    tokens = [0] * lanes
    for one in sorted(micro, key=lambda m: -m["input_ids"].numel()):
        lane = tokens.index(min(tokens))
        shares[lane].append(one)
        tokens[lane] += one["input_ids"].numel()
    return [share for share in shares if share]


def _sum(trained: Sequence[Any], micro: Sequence[Micro], loss_of: Callable[[Micro], Any],
         ) -> tuple[Any, list[Any]]:
    """The losses' sum and its gradients, None where a weight has none.

    Not by `backward`, which would add to the same tensors from several threads at once.
    """
    import torch

    total = torch.zeros(())
    sums: list[Any] = [None] * len(trained)
    for one in micro:
        loss = loss_of(one)
        gradients = torch.autograd.grad(loss, trained, allow_unused=True)
        total += loss.detach()
        sums = [new if held is None else held if new is None else held.add_(new)
                for held, new in zip(sums, gradients, strict=True)]
    return total, sums
