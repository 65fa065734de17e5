"""When the Trainer saves and stops, beside its own schedule. Imports transformers, as `trainer`."""

from __future__ import annotations

import threading
import time
from typing import Any

from transformers import TrainerCallback

from phi3kit.finetune.processes import Processes

_SAVE_SECONDS = 600.0


class SaveInTime(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint when the last one is ten minutes old, by the first process's clock.

    When a checkpoint is written does not change what is trained, so that a run may be resumed
    from any of them. All processes ask in the same step, for all take part in saving a model that
    is shared out.
    """

    def __init__(self, team: Processes) -> None:
        self._team = team
        self._last = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The clock starts."""
        self._last = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Ask for it, a step more or less after the time."""
        late = self._team.leads and time.monotonic() - self._last >= _SAVE_SECONDS
        if self._team.any(late):
            control.should_save = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The clock starts anew."""
        self._last = time.monotonic()


class SaveAndStop(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint and to stop, in all processes once one of them was interrupted.

    Args:
        interrupted: set when this process was, and here when another one was.
    """

    def __init__(self, team: Processes, interrupted: threading.Event) -> None:
        self._team = team
        self._interrupted = interrupted

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Ask for both."""
        if self._team.any(self._interrupted.is_set()):
            self._interrupted.set()
            control.should_save = control.should_training_stop = True
        return control
