"""The Trainer's checkpoints: read into room that is there, and saved whole or not at all."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from phi3kit.files import flush
from phi3kit.finetune import checkpoints, metrics, moments
from phi3kit.finetune.processes import Processes


class WholeState:
    """In front of transformers' Trainer; what it calls of `super` is the Trainer's.

    Attributes:
        run: the run folder.
        team: the processes that train it.
    """

    run: Path
    team: Processes
    args: Any
    state: Any
    optimizer: Any
    lr_scheduler: Any
    _staging: str | None = None

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Into host memory first: that of a card needs room for one copy, not for two."""
        import torch
        from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

        if checkpoint is None:
            return
        read = functools.partial(torch.load, map_location="cpu", weights_only=True,
                                 mmap=self.args.device.type == "cuda")
        held = self.optimizer.optimizer  # within accelerate's
        held.load_state_dict(moments.fitted(
            read(Path(checkpoint) / OPTIMIZER_NAME), held, Path(checkpoint)))
        self.lr_scheduler.load_state_dict(read(Path(checkpoint) / SCHEDULER_NAME))

    def _get_output_dir(self, trial: Any) -> str:
        return self._staging or super()._get_output_dir(trial)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Complete or absent; by the first process, whose state is that of all."""
        if not self.team.leads:
            return
        flush(self.run / metrics.METRICS)  # no checkpoint without the lines up to it
        name = f"checkpoint-{self.state.global_step}"
        with checkpoints.saving(Path(self.args.output_dir), name) as staging:
            self._staging = str(staging)
            try:
                super()._save_checkpoint(model, trial)  # type: ignore[misc]
            finally:
                self._staging = None
