"""Settings in a run's record: written in one form or the other, and read from both."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from phi3kit import settings
from phi3kit.advise.at_hand import AtHand
from phi3kit.export.unfinished import to_finish
from phi3kit.settings import recorded

GIVEN = {"finetune.rank": 4, "runs": "out", "compare.weights": {"quality": 1.0, "cost": 2.0}}


@pytest.fixture(params=["with sources", "from Python"])
def state(request: pytest.FixtureRequest, project: Path) -> dict[str, Any]:
    (project / "phi3kit.yaml").write_text("finetune: {epochs: 2}\n")
    resolved = settings.load(GIVEN)
    kept = recorded.record(resolved.values,
                           resolved if request.param == "with sources" else None)
    return {"settings": kept}


def test_what_is_written_is_read(state: dict[str, Any]) -> None:
    own = recorded.read(state)
    assert own == settings.load(GIVEN).values
    assert recorded.flat(state).items() >= {**GIVEN, "finetune.epochs": 2.0}.items()
    other = recorded.read(state, {"finetune.dataset": "t.jsonl"})
    assert other.finetune.dataset == "t.jsonl" and other.finetune.rank == 4


def test_keys_that_are_none_any_more_are_left_out(state: dict[str, Any]) -> None:
    kept = state["settings"]
    if "values" in kept:
        kept["values"]["finetune"]["gone"] = 1
    else:
        kept["finetune.gone"] = {"value": 1, "source": "file"}
    assert recorded.flat(state)["finetune.gone"] == 1
    assert recorded.read(state).finetune.rank == 4


@pytest.mark.parametrize("damaged", [{}, {"settings": None}, {"settings": []}])
def test_no_settings_are_not_the_defaults(damaged: dict[str, Any]) -> None:
    assert recorded.flat(damaged) == {}
    with pytest.raises(KeyError, match="settings"):
        recorded.read(damaged)


def test_what_was_a_flag_is_one_again(state: dict[str, Any]) -> None:
    flags = recorded.flags(state)
    assert flags == (None if "values" in state["settings"] else GIVEN)
    said = to_finish(Path("runs/finetune-1"), state)
    assert ("--rank 4" in said) == (flags is not None)


def test_commands_after_a_comparison_name_what_it_ran_on(
        state: dict[str, Any], project: Path) -> None:
    """One that a program made as well as one of the command line."""
    (project / "run.json").write_text(json.dumps({"status": "complete", **state}))
    comparison: Any = SimpleNamespace(run=str(project), arms=())
    assert AtHand().after(comparison).base == settings.load().values.model.name
