"""The plan against real training runs, of a tiny Phi-3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phi3kit import settings
from phi3kit.errors import RunError
from phi3kit.finetune.calibration import calibrate
from phi3kit.finetune.train import finetune
from phi3kit.plan.memory import parts_of
from phi3kit.plan.shapes import shape_of
from phi3kit.plan.step import Step

EXAMPLES = [{"question": f"What is number {n}?", "answer": f"It is {n * n}."} for n in range(8)]


@pytest.fixture
def trained(project: Path, tiny_phi3: Path) -> Path:
    """The folder of runs, with one run in it."""
    (project / "train.jsonl").write_text("".join(json.dumps(e) + "\n" for e in EXAMPLES))
    resolved = settings.load({
        "model.name": str(tiny_phi3), "model.device": "cpu", "finetune.dataset": "train.jsonl",
        "finetune.epochs": 1.0, "finetune.batch_size": 4})
    finetune(resolved.values, resolved)
    return project / "runs"


def state_of(root: Path) -> tuple[Path, dict[str, Any]]:
    path = next(root.glob("*/run.json"))
    return path, json.loads(path.read_text())


def test_a_run_is_planned_from_its_record(trained: Path, tiny_phi3: Path) -> None:
    found = calibrate(trained)
    row, = found.rows
    assert (row.method, row.rank, row.device, found.skipped) == ("lora", 16, "cpu", ())
    # Four rows of 54 or 55 tokens, padded to 64, are one micro-batch of up to 512.
    assert (row.batch, row.context) == (4, 64)
    result = state_of(trained)[1]["result"]
    step = Step(context=64, batch=4, place="cpu",
                answers=result["trained_tokens"] / result["tokens"])
    planned = sum(parts_of(shape_of(str(tiny_phi3)), "lora", step).values())
    assert row.planned_bytes == planned
    assert row.peak_bytes == result["peak_memory_bytes"]
    assert row.memory_error == pytest.approx(planned / row.peak_bytes - 1)
    assert row.planned_seconds is not None and row.time_error is not None
    assert row.time_error == pytest.approx(row.planned_seconds / row.seconds - 1)
    assert found.largest_memory_error == row.memory_error


def test_what_is_measured_does_not_enter_what_is_planned(trained: Path) -> None:
    before, = calibrate(trained).rows
    path, state = state_of(trained)
    state["result"]["peak_memory_bytes"] *= 2
    path.write_text(json.dumps(state))
    after, = calibrate(trained).rows
    assert after.planned_bytes == before.planned_bytes
    assert after.memory_error == pytest.approx((1 + before.memory_error) / 2 - 1)


def test_changed_data_are_not_compared(trained: Path) -> None:
    with Path("train.jsonl").open("a") as file:
        file.write(json.dumps({"question": "Another?", "answer": "Yes."}) + "\n")
    found = calibrate(trained)
    assert found.rows == () and found.largest_memory_error is None
    assert "not the dataset" in found.skipped[0].why


def test_what_the_plan_has_no_term_for_is_not_compared(trained: Path) -> None:
    path, state = state_of(trained)
    state["result"]["variants"] = ["dora"]
    path.write_text(json.dumps(state))
    assert "dora" in calibrate(trained).skipped[0].why


def test_a_run_of_another_machine_is_compared_only_when_its_device_is_known(
    trained: Path,
) -> None:
    path, state = state_of(trained)
    state["settings"]["model.device"]["value"] = "auto"
    state["versions"]["torch"] = "2.9.0"
    state["machine"]["processor"] = "another"
    path.write_text(json.dumps(state))
    assert "another machine" in calibrate(trained).skipped[0].why
    state["versions"]["torch"] = "2.9.0+cpu"
    path.write_text(json.dumps(state))
    assert calibrate(trained).rows[0].device == "cpu"


def test_a_damaged_record_does_not_stop_the_others(trained: Path) -> None:
    path, state = state_of(trained)
    other = trained / "finetune-other"
    other.mkdir()
    (other / "run.json").write_text(json.dumps({**state, "result": {"run": 3}}))
    (trained / "half").mkdir()
    (trained / "half" / "run.json").write_text("{")
    found = calibrate(trained)
    assert len(found.rows) == 1
    assert [Path(f.where).name for f in found.skipped] == ["finetune-other"]
    assert path.parent.name in found.rows[0].run


def test_no_run_is_one_line(project: Path) -> None:
    with pytest.raises(RunError, match="no finished training run"):
        calibrate(project)
