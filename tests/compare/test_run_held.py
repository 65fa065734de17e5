"""`compare --fresh` leaves a run alone that another compare is at work in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from phi3kit import runs
from phi3kit.compare import run as room
from phi3kit.errors import RunError
from phi3kit.settings import load


def test_fresh_leaves_answers_that_another_process_makes(
    project: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    task: Any = SimpleNamespace(adapters=SimpleNamespace(notes=()))
    monkeypatch.setattr(room, "prepare", lambda settings: task)
    monkeypatch.setattr(room, "curves", lambda task: ())
    monkeypatch.setattr(room, "inputs", lambda task: {"questions": "q"})
    monkeypatch.setattr(room, "_run", lambda task, run, *others: run)
    begun = runs.open_run(Path("runs"), "compare", {"questions": "q"}, settings={})
    answers = begun.path / "rows.jsonl"
    answers.write_text("an hour of answers")
    with runs.held(begun.path, busy="", mend=""):
        with pytest.raises(RunError, match="another compare is at work in it"):
            room.compare(load().values, fresh=True)
        assert answers.read_text() == "an hour of answers"
    again: Any = room.compare(load().values, fresh=True)
    assert again.path == begun.path and not answers.exists()
    assert list(Path("runs").iterdir()) == [begun.path]
