"""The Trainer of a run, made from its settings; what it does in a step is in `answer_trainer`."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.dataset.encode import Encoded
from phi3kit.errors import ModelError
from phi3kit.finetune import methods, sharding, shares, trackers
from phi3kit.finetune.batches import Collator
from phi3kit.finetune.checkpoints import CHECKPOINTS
from phi3kit.finetune.lanes import Lanes, lanes_for, room_of
from phi3kit.finetune.processes import ALONE, Processes
from phi3kit.models.causal import causal_of

if TYPE_CHECKING:
    from phi3kit.finetune.answer_trainer import AnswerTrainer, OnMicro, OnStep
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import FinetuneSettings

_SAVES = 5  # over a run, beside those of `callbacks.SaveInTime`


def make_trainer(loaded: Loaded, rows: Sequence[Encoded], settings: FinetuneSettings,
                 run: Path, on_step: OnStep, team: Processes = ALONE, *, pass_tokens: int,
                 packed: bool = False, on_micro: OnMicro | None = None) -> AnswerTrainer:
    """A Trainer for `rows`; `train(resume_from_checkpoint=checkpoints.newest(run))` runs it.

    Args:
        loaded: the model, with its adapter if it gets one.
        run: gets metrics.jsonl and checkpoints/.
        on_step: told of each optimizer step, after it: step, loss (mean over the step's
            trained tokens), learning_rate, tokens (real ones), trained, seconds (saving is
            in none of them).
        team: the processes that train together; each gets every batch and takes its share.
        pass_tokens: that one forward pass may hold, and all that are computed side by side.
        packed: examples are laid end to end, see `packing`.
        on_micro: told the micro-batches of each step that are this process's, before they are
            computed, and the lanes that compute them.

    Raises:
        ModelError: checkpointing is asked for and the model's code has none.
    """
    from transformers import PrinterCallback

    from phi3kit.finetune.answer_trainer import AnswerTrainer
    from phi3kit.finetune.callbacks import SaveInTime
    from phi3kit.finetune.sharing_trainer import SharingTrainer

    if settings.checkpointing and not causal_of(loaded.model).supports_gradient_checkpointing:
        raise ModelError("the model cannot recompute its activations", where=loaded.name,
                         mend="Use --no-checkpointing")

    pad = loaded.tokenizer.pad_token_id
    lanes = lanes_for(loaded, settings)
    room = room_of(loaded.model, pass_tokens, lanes)
    collator = Collator(0 if pad is None else pad, pass_tokens, team.size, packed=packed,
                        lanes=lanes, room=room, window=getattr(
                            loaded.model.config.get_text_config(), "sliding_window", None))
    sharded = sharding.wanted(settings, team)
    trainer = (SharingTrainer if sharded and settings.full else AnswerTrainer)(
        run=run, team=team, sharded=sharded, lanes=Lanes(lanes, room) if lanes > 1 else None,
        arithmetic=functools.partial(methods.arithmetic, loaded, settings),
        on_step=on_step, on_micro=on_micro,
        model=loaded.model, args=_arguments(loaded, len(rows), settings, run),
        train_dataset=_as_dataset(rows),
        data_collator=lambda items: collator(
            [Encoded(tuple(item["input_ids"]), tuple(item["labels"])) for item in items]))
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(SaveInTime(team))
    trackers.keep_in(run, trainer)
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
