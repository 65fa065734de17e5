"""transformers' Trainer, taught our batches, our loss and to leave whole checkpoints only.

The loop, the optimizer, the schedule, clipping, resuming and skipping ahead are the
Trainer's. Ours is what one step computes, and what a save leaves behind.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.dataset.encode import IGNORED, Encoded
from phi3kit.errors import ModelError, RunError
from phi3kit.finetune.batches import Collator

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import FinetuneSettings

METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
_SAVES = 5  # over a run
_KEPT = 2  # the newest, and the one before should the disk have damaged it

OnStep = Callable[[dict[str, Any]], None]


def answer_loss(model: Any, input_ids: Any, labels: Any, *, plain_head: bool = True) -> Any:
    """Summed cross entropy of the trained tokens, in float32.

    The output layer, [tokens, hidden] x [hidden, vocabulary] and with a vocabulary of tens
    of thousands the largest product of a small model, is computed only where a label is.

    Args:
        model: a causal language model, with or without a LoRA adapter.
        input_ids, labels: int64[rows, width]; a label is predicted by the position before it.
        plain_head: see `has_plain_head`; without one, all logits come from the model itself.
    """
    import torch

    wanted = labels[:, 1:] != IGNORED
    if plain_head:
        causal = _causal(model)
        hidden = causal.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
        logits = causal.get_output_embeddings()(hidden[:, :-1][wanted])
    else:
        logits = model(input_ids=input_ids, use_cache=False).logits[:, :-1][wanted]
    return torch.nn.functional.cross_entropy(
        logits.float(), labels[:, 1:][wanted], reduction="sum")


def has_plain_head(model: Any) -> bool:
    """Whether the logits are the output layer's and nothing else, tried out on one token.

    Gemma 2 caps its logits, Granite and Cohere scale them, inside their own forward.
    """
    import torch

    causal = _causal(model)
    ids = torch.zeros((1, 1), dtype=torch.long, device=next(model.parameters()).device)
    seen: list[Any] = []
    hook = causal.base_model.register_forward_hook(
        lambda module, args, out: seen.append(out.last_hidden_state))
    # One pass for both, so that dropout cannot make them differ, and not in evaluation mode: on
    # a CPU bitsandbytes then repacks 4-bit weights for good, and the packed ones pass no
    # gradients on.
    try:
        with torch.no_grad():
            whole = causal(input_ids=ids, use_cache=False).logits
            return bool(torch.allclose(causal.get_output_embeddings()(seen[0]), whole))
    finally:
        hook.remove()


def _causal(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def make_trainer(loaded: Loaded, rows: Sequence[Encoded], settings: FinetuneSettings,
                 run: Path, on_step: OnStep) -> Any:
    """A Trainer for `rows`; `train(resume_from_checkpoint=newest_checkpoint(run))` runs it.

    Args:
        loaded: the model with its adapter.
        run: gets metrics.jsonl and checkpoints/.
        on_step: told of each optimizer step, after it: step, loss (mean over the step's
            trained tokens), learning_rate, tokens (real ones), trained, seconds.

    Raises:
        ModelError: checkpointing is asked for and the model's code has none.
    """
    from transformers import PrinterCallback

    if settings.checkpointing and not _causal(loaded.model).supports_gradient_checkpointing:
        raise ModelError("the model cannot recompute its activations", where=loaded.name,
                         mend="Use --no-checkpointing")

    pad = loaded.tokenizer.pad_token_id
    collator = Collator(0 if pad is None else pad, settings.micro_batch_tokens)
    trainer = _trainer_class()(
        model=loaded.model, args=_arguments(loaded, len(rows), settings, run),
        train_dataset=_as_dataset(rows),
        data_collator=lambda items: collator(
            [Encoded(tuple(item["input_ids"]), tuple(item["labels"])) for item in items]))
    trainer.remove_callback(PrinterCallback)
    trainer.run, trainer.on_step = run, on_step
    trainer.plain_head = has_plain_head(loaded.model)
    return trainer


def keep_activations(model: Any) -> None:
    """End what checkpointing switched on for the training: recomputing, and input gradients.

    The Trainer lets the frozen embeddings' output require gradients, and nobody takes that
    back.
    """
    causal = _causal(model)
    if causal.is_activation_checkpointing:
        causal.activation_checkpointing_disable()
        causal.disable_input_require_grads()


def steps_of(rows: int, settings: FinetuneSettings) -> int:
    """Optimizer steps of a run, as the Trainer counts them."""
    return math.ceil(settings.epochs * math.ceil(rows / settings.batch_size))


def newest_checkpoint(run: Path) -> Path | None:
    """The newest complete checkpoint of a run. Incomplete ones never get their name."""
    found = (run / CHECKPOINTS).glob("checkpoint-*")
    return max(found, key=_step_of, default=None)


def read_metrics(run: Path, *, through: int | None = None) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, those of later steps than `through` left out."""
    try:
        lines = (run / METRICS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            break  # the line that a crash cut off
    return [m for m in found if through is None or m["step"] <= through]


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


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
        optim="adamw_torch",
        seed=settings.seed, data_seed=settings.seed,
        logging_steps=1, report_to="none", disable_tqdm=True, log_level="error",
        save_strategy="steps", save_steps=max(1, math.ceil(steps_of(rows, settings) / _SAVES)),
        activation_checkpointing=settings.checkpointing,
        # The other kind passes no gradients on where a layer's input needs none.
        activation_checkpointing_kwargs={"use_reentrant": False},
        fp16=loaded.dtype == "float16" and loaded.device == "cuda",
        use_cpu=loaded.device == "cpu",
        dataloader_pin_memory=loaded.device == "cuda",
        remove_unused_columns=False)
    # One process, one device: a second GPU is for a second process, not for DataParallel.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _trainer_class() -> Any:
    """The class; made on first use, for transformers is not imported at start-up."""
    import torch
    from transformers import Trainer

    class AnswerTrainer(Trainer):  # type: ignore[misc]
        """One batch of the data loader is one optimizer step, in micro-batches."""

        run: Path
        on_step: OnStep
        plain_head: bool
        _began: float | None = None
        _spent: dict[str, int]

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            """Gradients of the step's mean loss over trained tokens, micro-batch by micro-batch.

            Each micro-batch's sum is divided by the whole step's count, so the result does
            not depend on how the step was split.
            """
            if self._began is None:
                self._began = time.monotonic()
            model.train()
            self._spent = {"tokens": int(inputs["tokens"]), "trained": int(inputs["trained"])}
            total = torch.zeros((), device=self.args.device)
            for micro in inputs["micro"]:
                with self.compute_loss_context_manager():
                    loss = answer_loss(model, **self._prepare_input(micro),
                                       plain_head=self.plain_head) / inputs["trained"]
                self.accelerator.backward(loss)
                total += loss.detach()
            self._stop_unless_finite(float(total), "loss")
            return total

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
                    mend="Lower finetune.learning_rate, or use --dtype bfloat16 or float32; the "
                         "last good checkpoint is kept")

        def floating_point_ops(self, inputs: Any) -> int:
            """Not counted: the Trainer's estimate would count padding and the output layer."""
            return 0

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
            with (self.run / METRICS).open("a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")
            self.on_step(line)

        def _get_output_dir(self, trial: Any) -> str:
            return self._staging or super()._get_output_dir(trial)

        _staging: str | None = None

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            """Written aside, flushed, then renamed: a checkpoint is complete or absent."""
            root = Path(self.args.output_dir)
            root.mkdir(parents=True, exist_ok=True)
            self._staging = tempfile.mkdtemp(dir=root, prefix=".saving-")
            try:
                super()._save_checkpoint(model, trial)
                for staged in Path(self._staging).glob("checkpoint-*"):
                    _flush(staged)
                    staged.rename(root / staged.name)
            finally:
                shutil.rmtree(self._staging, ignore_errors=True)
                self._staging = None
            for old in sorted(root.glob("checkpoint-*"), key=_step_of)[:-_KEPT]:
                shutil.rmtree(old)

    return AnswerTrainer


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as handle:
                os.fsync(handle.fileno())
