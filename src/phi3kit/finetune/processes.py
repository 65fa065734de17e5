"""One training run in several processes, started by torchrun or `accelerate launch`.

Every process holds the whole model, its frozen layers by shares (see `sharding`) or, where all
of it trains, everything by shares (see `shares`). It computes its part of each step's
micro-batches; the gradients are added up before the optimizer, so that the result is that of one
process. The first process alone writes files and speaks.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from phi3kit.dataset.encode import IGNORED
from phi3kit.errors import Phi3kitError, RunError, first_line
from phi3kit.finetune.fused import is_shared_out
from phi3kit.runs import cores

T = TypeVar("T")

# The others wait while the first process writes a checkpoint, which of a whole model takes longer
# than the ten minutes after which nccl gives up. Of a process that died, torchrun tells the others.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: the number of this process, from 0.
        size: how many there are.
    """

    rank: int
    size: int

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def first(self, work: Callable[[], T]) -> T:
        """What `work` returns in the first process, in all of them; it runs in that one only.

        Raises:
            Phi3kitError: raised by `work`; the other processes exit, none waits for ever.
        """
        if self.size == 1:
            return work()
        from torch import distributed

        told: list[Any] = [None, None]
        if self.leads:
            try:
                told[0] = work()
            except Phi3kitError as error:
                told[1] = str(error)
                distributed.broadcast_object_list(told)
                raise
        distributed.broadcast_object_list(told)
        if told[1] is not None:
            raise SystemExit(1)  # the first process says why
        found: T = told[0]
        return found

    def any(self, here: bool) -> bool:
        """Whether it is so in one of the processes."""
        if self.size == 1:
            return here
        import torch

        flag = torch.tensor(int(here), device=_device())
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag)

    def least(self, here: int) -> int:
        """The smallest of what the processes have, in all of them."""
        if self.size == 1:
            return here
        import torch

        found = torch.tensor(here, device=_device())
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MIN)
        return int(found)

    def share(self, micro_batches: Sequence[Mapping[str, Any]], *, even: bool,
              ) -> list[Mapping[str, Any]]:
        """Those of a step's micro-batches that this process computes.

        Args:
            micro_batches: {"input_ids", "labels": int64[rows, width]} each.
            even: give every process as many, with single tokens without a label for those that
                lack one: where weights are gathered, all processes have to take part.
        """
        mine = list(micro_batches[self.rank::self.size])
        if even and len(mine) < -(-len(micro_batches) // self.size):
            first = micro_batches[0]
            mine.append({"input_ids": first["input_ids"][:1, :1],
                         "labels": first["labels"][:1, :1].clone().fill_(IGNORED)})
        return mine

    def begin_alike(self, parameters: Iterable[Any]) -> None:
        """Give what trains the first process's values, in all of them.

        Starts that come from a decomposition (PiSSA, LoftQ) may have other signs on another
        processor, and gradients of different adapters must not be added up.
        """
        if self.size == 1:
            return
        import torch

        trained = [p for p in parameters if p.requires_grad and not is_shared_out(p)]
        flat = torch.cat([p.detach().reshape(-1) for p in trained])
        torch.distributed.broadcast(flat, src=0)
        at = 0
        for p in trained:
            p.detach().copy_(flat[at:at + p.numel()].view_as(p))
            at += p.numel()

    def add_up(self, parameters: Iterable[Any], loss: Any) -> Any:
        """Replace each gradient, and return the loss, by the sum over all processes.

        One message per step: the gradients of an adapter are small, and those of a process
        that had no micro-batch count as zero. Gradients by shares have been added up already.
        """
        if self.size == 1:
            return loss
        import torch

        trained = [p for p in parameters if p.requires_grad and not is_shared_out(p)]
        for p in trained:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        flat = torch.cat([loss.reshape(1).float(), *[p.grad.reshape(-1).float() for p in trained]])
        torch.distributed.all_reduce(flat)
        at = 1
        for p in trained:
            p.grad.copy_(flat[at:at + p.numel()].view_as(p))
            at += p.numel()
        return flat[0]


ALONE = Processes(0, 1)


def launched() -> Processes:
    """The processes that torchrun's environment tells of; one when there is none."""
    try:
        return Processes(int(os.environ.get("RANK", "0")),
                         max(1, int(os.environ.get("WORLD_SIZE", "1"))))
    except ValueError as error:
        raise RunError("RANK and WORLD_SIZE are no numbers", where="environment",
                       mend="Start it by torchrun, or unset them") from error


def join(device: str) -> Processes:
    """Meet the other processes of a launch; each takes the GPU of its local rank.

    Args:
        device: of `model`; "cpu" keeps to the CPU, where gloo carries the messages.
    """
    team = launched()
    if team.size > 1:
        from accelerate import PartialState

        from phi3kit.models.hardware import pick_device

        on_cpu = pick_device(device) == "cpu"
        try:
            PartialState(cpu=on_cpu, timeout=_PATIENCE)  # the Trainer finds this state, and uses it
        except NotImplementedError as error:  # by accelerate, of RTX 40 cards under old drivers
            raise RunError(f"the cards cannot speak to each other ({first_line(error)})",
                           where="torchrun",
                           mend="Update their driver, or set NCCL_P2P_DISABLE=1 and "
                                "NCCL_IB_DISABLE=1") from error
        if not on_cpu:
            _share_cores()
    return team


def _share_cores() -> None:
    """A part of the machine's cores for each process that it runs, to load and round weights by.

    torchrun leaves each of them one.
    """
    import torch

    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(max(1, cores() // here))


@contextlib.contextmanager
def quiet_unless_first(team: Processes) -> Iterator[None]:
    """Let the first process alone write notes and progress; errors are told by all."""
    if team.leads:
        yield
        return
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def _device() -> Any:
    from accelerate import PartialState

    return PartialState().device
