"""transformers' Trainer, taught our batches, our loss and to leave whole checkpoints only.

The loop, the optimizer, the schedule, clipping, resuming and skipping ahead are the
Trainer's. Ours is what one step computes, and what a save leaves behind. The file imports torch,
so that only `trainer` imports it, when there is something to train.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from phi3kit.errors import RunError
from phi3kit.finetune import metrics
from phi3kit.finetune.lanes import Lanes, Micro
from phi3kit.finetune.loss import answer_loss, has_plain_head
from phi3kit.finetune.processes import Processes
from phi3kit.finetune.whole_state import WholeState

OnStep = Callable[[dict[str, Any]], None]
OnMicro = Callable[[Sequence[Micro], Lanes | None], None]


class AnswerTrainer(WholeState, Trainer):  # type: ignore[misc]
    """One batch of the data loader is one optimizer step, in micro-batches.

    Args:
        run: the run folder, which gets metrics.jsonl and checkpoints/.
        team: the processes that train together.
        sharded: whether they share out the model, so that each has to make as many passes.
        lanes: compute micro-batches side by side; None: one by one.
        arithmetic: the context that a loss is computed in.
        on_step: told of each step's line of metrics.
        on_micro: told of this process's micro-batches before they are computed.
        **trainer: the Trainer's own.
    """

    def __init__(self, *, run: Path, team: Processes, sharded: bool, lanes: Lanes | None,
                 arithmetic: Callable[[], AbstractContextManager[Any]], on_step: OnStep,
                 on_micro: OnMicro | None, **trainer: Any) -> None:
        super().__init__(**trainer)
        self.run, self.team, self._sharded = run, team, sharded
        self._lanes, self._arithmetic = lanes, arithmetic
        self._on_step, self._on_micro = on_step, on_micro
        self._began: float | None = None
        self._spent: dict[str, int] = {}
        with arithmetic():
            self._plain_head = has_plain_head(self.model)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Gradients of the step's mean loss over trained tokens, micro-batch by micro-batch.

        Each micro-batch's sum is divided by the whole step's count, so the result does
        not depend on how the step was split, nor over how many processes.
        """
        if self._began is None:
            self._began = time.monotonic()
        model.train()
        if self.team.size > 1:  # dropout: another mask in each process, the same when resumed
            torch.manual_seed(hash((self.args.seed, self.state.global_step, self.team.rank)))
        self._spent = {"tokens": int(inputs["tokens"]), "trained": int(inputs["trained"])}
        mine = self.team.share(inputs["micro"], even=self._sharded)
        if self._on_micro is not None:
            self._on_micro(mine, self._lanes)
        loss_of = functools.partial(self._loss_of, model, trained=inputs["trained"])
        if self._lanes is None:
            total = torch.zeros((), device=self.args.device)
            for micro in mine:
                loss = loss_of(micro)
                self.accelerator.backward(loss)
                total += loss.detach()
        else:
            total = self._lanes.backward(
                [p for p in model.parameters() if p.requires_grad], mine, loss_of)
        total = self.team.add_up(model.parameters(), total)
        self._stop_unless_finite(float(total), "loss")
        return total

    def _loss_of(self, model: Any, micro: Any, *, trained: int) -> Any:
        """The micro-batch's part of the step's mean loss."""
        tensors = self._prepare_input(micro)
        with self._arithmetic():  # the Trainer's is around the model's own forward alone
            return self._loss(model, tensors) / trained

    def _loss(self, model: Any, tensors: Mapping[str, Any]) -> Any:
        return answer_loss(model, **tensors, plain_head=self._plain_head)

    def get_train_dataloader(self) -> Any:
        """Every process sees each batch whole: what is shared out are micro-batches."""
        loader = super().get_train_dataloader()
        if self.team.size > 1:
            shards = loader.batch_sampler
            shards.num_processes, shards.process_index = 1, 0
            shards.even_batches = False
        return loader

    def create_accelerator_and_postprocess(self) -> None:
        """No DistributedDataParallel around the model: `training_step` adds gradients up."""
        super().create_accelerator_and_postprocess()
        self.accelerator.prepare_model = functools.partial(
            self.accelerator.prepare_model, evaluation_mode=True)

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        if self.accelerator.scaler is None:  # a scaler skips such steps by itself
            self._stop_unless_finite(float(norm), "gradient")
        return norm

    def _stop_unless_finite(self, value: float, what: str) -> None:
        """Before the optimizer: the weights, and the last checkpoint, stay good."""
        if not math.isfinite(value):
            step = self.state.global_step + 1
            raise RunError(
                f"the {what} became {value} at step {step}", where=str(self.run),
                mend="Lower finetune.learning_rate, or set model.dtype to bfloat16 or float32; "
                     "the last good checkpoint is kept")

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the Trainer's estimate would count padding and the output layer."""
        return 0

    def store_flos(self) -> None:
        """Nothing to add up, and in several processes saving would wait for all of them."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """A line of metrics per step, written at once."""
        super().log(logs, start_time)
        if "loss" not in logs or self._began is None:
            return
        now = time.monotonic()
        line = {"step": self.state.global_step, "loss": logs["loss"],
                "learning_rate": logs["learning_rate"], **self._spent,
                "seconds": round(now - self._began, 4)}
        self._began = now
        if self.team.leads:
            metrics.append(self.run, line)
        self._on_step(line)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self._began = time.monotonic()  # the next step's seconds are its own
