"""When a checkpoint is written beside the schedule, and whose seconds that takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from facts_to_learn import Configure

from phi3kit.finetune import answer_trainer, callbacks, metrics, whole_state
from phi3kit.finetune.train import finetune


class Clock:
    """Moves on by itself, and further when it is told to."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@dataclass
class Team:
    """What a process knows of the others."""

    leads: bool
    others: bool = False

    def any(self, here: bool) -> bool:
        return here or self.others


def asked(callback: Any) -> bool:
    control = SimpleNamespace(should_save=False)
    callback.on_step_end(None, None, control)
    return control.should_save


def test_the_first_process_asks_for_a_checkpoint_after_ten_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    first = callbacks.SaveInTime(Team(leads=True))
    assert not asked(first)
    clock.ahead = 601
    assert asked(first)
    first.on_save(None, None, None)
    assert not asked(first)


def test_all_processes_save_in_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the one that saves a model which is shared out would wait for the others' shares."""
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    second = callbacks.SaveInTime(Team(leads=False))
    clock.ahead = 601  # its own clock does not count
    assert not asked(second)
    assert asked(callbacks.SaveInTime(Team(leads=False, others=True)))


def test_no_step_takes_the_time_of_a_save(
    configure: Configure, monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, saves = Clock(), []

    def save(self: Any, model: Any, trial: Any) -> None:
        clock.ahead += 1000
        saves.append(self.state.global_step)
        real(self, model, trial)

    real = whole_state.WholeState._save_checkpoint
    monkeypatch.setattr(whole_state.WholeState, "_save_checkpoint", save)
    monkeypatch.setattr(answer_trainer, "time", clock)
    report = finetune(configure())
    assert len(saves) >= 4 and saves[0] < report.steps
    assert report.seconds < 1000
    assert max(line["seconds"] for line in metrics.read(Path(report.run))) < 1000
