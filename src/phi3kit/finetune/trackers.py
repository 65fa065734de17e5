"""Trackers beside metrics.jsonl: the Trainer's own, set up so that they find the run folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from phi3kit.errors import SettingsError

_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",),
             "mlflow": ("mlflow",)}


def refuse_missing(report_to: str) -> None:
    """Tell that a tracker's package is not installed, before anything is loaded.

    Raises:
        SettingsError: it is not.
    """
    packages = _PACKAGES.get(report_to, ())
    if packages and not any(importlib.util.find_spec(name) for name in packages):
        raise SettingsError(f"{report_to} is not installed", where="finetune.report_to",
                            mend=f"Run: pip install {packages[0]}")


def keep_in(run: Path, trainer: Any) -> None:
    """TensorBoard's files into `<run>/tensorboard`: the checkpoints' folder goes at the end."""
    for callback in trainer.callback_handler.callbacks:
        if type(callback).__name__ == "TensorBoardCallback" and callback.logging_dir is None:
            callback.logging_dir = str(run / "tensorboard")
