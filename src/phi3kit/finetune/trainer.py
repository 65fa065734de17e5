"""transformers' Trainer, taught our batches, our loss and to leave whole checkpoints only.

The loop, the optimizer, the schedule, clipping, resuming and skipping ahead are the
Trainer's. Ours is what one step computes, and what a save leaves behind.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.dataset.encode import Encoded
from phi3kit.errors import ModelError, RunError
from phi3kit.finetune import methods, metrics, sharding, shares, trackers
from phi3kit.finetune.batches import Collator
from phi3kit.finetune.checkpoints import CHECKPOINTS
from phi3kit.finetune.lanes import Lanes, Micro, lanes_for, room_of
from phi3kit.finetune.loss import answer_loss, has_plain_head
from phi3kit.finetune.processes import ALONE, Processes
from phi3kit.finetune.whole_state import WholeState
from phi3kit.models.causal import causal_of

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import FinetuneSettings

_SAVES = 5  # over a run, and besides:
_SAVE_SECONDS = 600.0  # at most so long after the last one, for a step more or less

OnStep = Callable[[dict[str, Any]], None]
OnMicro = Callable[[Sequence[Micro], Lanes | None], None]


def make_trainer(loaded: Loaded, rows: Sequence[Encoded], settings: FinetuneSettings,
                 run: Path, on_step: OnStep, team: Processes = ALONE, *, pass_tokens: int,
                 packed: bool = False, on_micro: OnMicro | None = None) -> Any:
    """A Trainer for `rows`; `train(resume_from_checkpoint=checkpoints.newest(run))` runs it.

    Args:
        loaded: the model with its adapter.
        run: gets metrics.jsonl and checkpoints/.
        on_step: told of each optimizer step, after it: step, loss (mean over the step's
            trained tokens), learning_rate, tokens (real ones), trained, seconds.
        team: the processes that train together; each gets every batch and takes its share.
        pass_tokens: that one forward pass may hold, and all that are computed side by side.
        packed: examples are laid end to end, see `packing`.
        on_micro: told the micro-batches of each step that are this process's, before they are
            computed, and the lanes that compute them.

    Raises:
        ModelError: checkpointing is asked for and the model's code has none.
    """
    from transformers import PrinterCallback

    if settings.checkpointing and not causal_of(loaded.model).supports_gradient_checkpointing:
        raise ModelError("the model cannot recompute its activations", where=loaded.name,
                         mend="Use --no-checkpointing")

    pad = loaded.tokenizer.pad_token_id
    lanes = lanes_for(loaded, settings)
    room = room_of(loaded.model, pass_tokens, lanes)
    collator = Collator(0 if pad is None else pad, pass_tokens, team.size, packed=packed,
                        lanes=lanes, room=room)
    sharded = sharding.wanted(settings, team)
    made = _trainer_class()
    trainer = (shares.sharing(made) if sharded and settings.full else made)(
        model=loaded.model, args=_arguments(loaded, len(rows), settings, run),
        train_dataset=_as_dataset(rows),
        data_collator=lambda items: collator(
            [Encoded(tuple(item["input_ids"]), tuple(item["labels"])) for item in items]))
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_save_in_time(team))
    trackers.keep_in(run, trainer)
    trainer.run, trainer.on_step, trainer.on_micro, trainer.team = run, on_step, on_micro, team
    trainer.sharded = sharded
    trainer.lanes = Lanes(lanes, room) if lanes > 1 else None
    trainer.arithmetic = functools.partial(methods.arithmetic, loaded, settings)
    with trainer.arithmetic():
        trainer.plain_head = has_plain_head(loaded.model)
    shares.let_go(loaded.model)
    return trainer


def keep_activations(model: Any) -> None:
    """End what checkpointing switched on for the training: recomputing, and input gradients.

    The Trainer lets the frozen embeddings' output require gradients, and nobody takes that
    back.
    """
    causal = causal_of(model)
    if causal.is_activation_checkpointing:
        causal.activation_checkpointing_disable()
        causal.disable_input_require_grads()


def steps_of(rows: int, settings: FinetuneSettings) -> int:
    """Optimizer steps of a run, as the Trainer counts them."""
    return math.ceil(settings.epochs * math.ceil(rows / settings.batch_size))


def _as_dataset(rows: Sequence[Encoded]) -> Any:
    """The rows in Arrow, which holds a token in 8 bytes; Python takes several times that."""
    from datasets import Dataset

    return Dataset.from_dict({"input_ids": [row.input_ids for row in rows],
                              "labels": [row.labels for row in rows]})


def _arguments(loaded: Loaded, rows: int, settings: FinetuneSettings, run: Path) -> Any:
    from transformers import TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(run / CHECKPOINTS),
        per_device_train_batch_size=settings.batch_size,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,  # below 1: a share of the steps
        weight_decay=0.0,  # A and B start near zero; decay would pull the base's way
        max_grad_norm=1.0,
        optim=_optimizer(loaded.device, qlora=settings.qlora),
        seed=settings.seed, data_seed=settings.seed,
        logging_steps=1, report_to=settings.report_to, run_name=run.name,
        disable_tqdm=True, log_level="error",
        save_strategy="steps", save_steps=max(1, math.ceil(steps_of(rows, settings) / _SAVES)),
        activation_checkpointing=settings.checkpointing,
        # The other kind passes no gradients on where a layer's input needs none.
        activation_checkpointing_kwargs={"use_reentrant": False},
        fp16=loaded.dtype == "float16",
        use_cpu=loaded.device == "cpu",
        dataloader_pin_memory=loaded.device == "cuda",
        remove_unused_columns=False)
    # One process, one device: a second GPU is for a second process, not for DataParallel.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _optimizer(device: str, *, qlora: bool) -> str:
    """QLoRA's paged AdamW on a CUDA card (Dettmers et al. 2023, section 3), else torch's.

    Its moments move to host memory while a long row needs their room, instead of ending the
    run. torch's is the one of a single kernel there: the other holds a copy of all that trains
    during its step. The arithmetic is AdamW's in 32 bits either way.
    """
    if device != "cuda":
        return "adamw_torch"
    return "paged_adamw_32bit" if qlora else "adamw_torch_fused"


def _save_in_time(team: Processes) -> Any:
    """A callback that asks for a checkpoint when the last one is ten minutes old.

    When a checkpoint is written does not change what is trained, so that a run may be resumed
    from any of them.
    """
    from transformers import TrainerCallback

    class SaveInTime(TrainerCallback):  # type: ignore[misc]
        """The clock is the first process's, which writes."""

        last = time.monotonic()

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.last = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            if team.leads and time.monotonic() - self.last >= _SAVE_SECONDS:
                control.should_save = True
            return control

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.last = time.monotonic()

    return SaveInTime()


def _trainer_class() -> Any:
    """The class; made on first use, for transformers is not imported at start-up."""
    import torch
    from transformers import Trainer

    class AnswerTrainer(WholeState, Trainer):  # type: ignore[misc]
        """One batch of the data loader is one optimizer step, in micro-batches."""

        run: Path
        on_step: OnStep
        on_micro: OnMicro | None
        plain_head: bool
        team: Processes
        sharded: bool
        lanes: Lanes | None
        arithmetic: Callable[[], AbstractContextManager[Any]]
        _began: float | None = None
        _spent: dict[str, int]

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
            mine = self.team.share(inputs["micro"], even=self.sharded)
            if self.on_micro is not None:
                self.on_micro(mine, self.lanes)
            loss_of = functools.partial(self._loss_of, model, trained=inputs["trained"])
            if self.lanes is None:
                total = torch.zeros((), device=self.args.device)
                for micro in mine:
                    loss = loss_of(micro)
                    self.accelerator.backward(loss)
                    total += loss.detach()
            else:
                total = self.lanes.backward(
                    [p for p in model.parameters() if p.requires_grad], mine, loss_of)
            total = self.team.add_up(model.parameters(), total)
            self._stop_unless_finite(float(total), "loss")
            return total

        def _loss_of(self, model: Any, micro: Any, *, trained: int) -> Any:
            """The micro-batch's part of the step's mean loss."""
            tensors = self._prepare_input(micro)
            with self.arithmetic():  # the Trainer's is around the model's own forward alone
                return self._loss(model, tensors) / trained

        def _loss(self, model: Any, tensors: Mapping[str, Any]) -> Any:
            return answer_loss(model, **tensors, plain_head=self.plain_head)

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
            self.on_step(line)

    return AnswerTrainer
