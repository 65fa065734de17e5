"""The Trainer of a whole model that is shared out. The file imports torch, as `answer_trainer`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from phi3kit.finetune import shares
from phi3kit.finetune.answer_trainer import AnswerTrainer


class SharingTrainer(AnswerTrainer):
    """What is saved is gathered by all first, and written by the first process."""

    _weights: dict[str, Any]
    _moments: dict[str, Any]

    def _loss(self, model: Any, tensors: Mapping[str, Any]) -> Any:
        if not self._plain_head:  # the model's own forward gathers
            return super()._loss(model, tensors)
        return model.answer_loss(**tensors)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        keep = self.team.leads
        self._weights = shares.gathered_weights(self.model, keep=keep)
        self._moments = shares.gathered(self.optimizer.state_dict(), keep=keep)
        try:
            super()._save_checkpoint(model, trial)
        finally:
            del self._weights, self._moments

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, self._weights)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        torch.save(self._moments, Path(output_dir) / OPTIMIZER_NAME)
        torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        shares.load_weights(self.model, Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        read = functools.partial(torch.load, map_location="cpu", weights_only=True)
        shares.load_moments(self.optimizer, read(Path(checkpoint) / OPTIMIZER_NAME, mmap=True))
        self.lr_scheduler.load_state_dict(read(Path(checkpoint) / SCHEDULER_NAME))
