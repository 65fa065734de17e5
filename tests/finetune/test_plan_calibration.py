"""The plan against real training runs, of a tiny Phi-3."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from phi3kit import settings
from phi3kit.errors import RunError
from phi3kit.finetune.ahead import fullest_pass
from phi3kit.finetune.batches import Collator
from phi3kit.finetune.calibration import calibrate
from phi3kit.finetune.lanes import Lanes
from phi3kit.finetune.passes_made import AtOnce, computed, drawn
from phi3kit.finetune.predicted import planned_anew, predicted
from phi3kit.finetune.train import finetune
from phi3kit.models.hardware import cpu_has_bfloat16
from phi3kit.plan.cards import shared_out
from phi3kit.plan.gpus import find_gpu
from phi3kit.plan.memory import parts_of
from phi3kit.plan.passes import ON_CPU
from phi3kit.plan.shapes import shape_of
from phi3kit.plan.step import Step
from phi3kit.plan.time import train_time
from phi3kit.records import CalibrationRow, TrainReport

ROOT = Path(__file__).resolve().parents[2]
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


def forget_plan(root: Path) -> None:
    """As a run was recorded before runs kept their plan."""
    path, state = state_of(root)
    del state["result"]["planned"], state["folder"]
    path.write_text(json.dumps(state))


def test_a_run_is_planned_from_its_record(trained: Path, tiny_phi3: Path) -> None:
    found = calibrate(trained)
    row, = found.rows
    assert (row.method, row.rank, row.device, found.skipped) == ("lora", 16, "cpu", ())
    # Four rows of 54 or 55 tokens, end to end and padded to 224 in all, are held at once.
    assert (row.batch, row.context) == (4, 56)
    result = state_of(trained)[1]["result"]
    assert row.float32 is not cpu_has_bfloat16()
    step = Step(context=56, batch=4, place="cpu", float32=row.float32, lanes=row.lanes,
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


def test_every_run_keeps_its_plan_beside_what_it_took(trained: Path) -> None:
    result = state_of(trained)[1]["result"]
    kept, (row,) = result["planned"], calibrate(trained).rows
    assert kept["planned_bytes"] == row.planned_bytes > 0
    assert kept["planned_seconds"] == row.planned_seconds > 0
    assert (kept["peak_bytes"], kept["seconds"]) == (result["peak_memory_bytes"],
                                                     result["seconds"])
    assert kept["memory_error"] == pytest.approx(kept["planned_bytes"] / kept["peak_bytes"] - 1)


def test_neither_data_nor_settings_are_needed_later(trained: Path) -> None:
    before, = calibrate(trained).rows
    Path("train.jsonl").unlink()
    path, state = state_of(trained)
    path.write_text(json.dumps(state | {"settings": {"finetune.gone": {"value": 1}}}))
    assert calibrate(trained).rows == (before,)


def test_the_plan_of_then_stands_where_the_model_is_gone(trained: Path) -> None:
    path, state = state_of(trained)
    state["result"]["planned"] |= {"model": "gone", "planned_bytes": 5, "memory_error": -0.5}
    path.write_text(json.dumps(state))
    row, = calibrate(trained).rows
    assert (row.planned_bytes, row.memory_error) == (5, -0.5)


def test_a_record_from_before_is_planned_from_its_dataset_wherever_it_is_read(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory,
) -> None:
    kept, = calibrate(trained).rows
    forget_plan(trained)
    root = trained.resolve()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    row, = calibrate(root).rows
    assert row.planned_bytes == kept.planned_bytes


def test_time_on_a_gpu_is_planned_where_the_card_is_known(trained: Path) -> None:
    path, state = state_of(trained)
    state["result"]["planned"] |= {"device": "cuda", "card": "NVIDIA H100 80GB HBM3"}
    path.write_text(json.dumps(state))
    row, = calibrate(trained).rows
    by_hand = train_time(shape_of(row.model), "lora", tokens=row.tokens, context=row.row,
                         gpus=(find_gpu("H100"),), pass_tokens=row.pass_tokens)
    assert row.planned_seconds == pytest.approx(3600 * by_hand.expected)
    state["result"]["planned"]["card"] = "NVIDIA GB999"
    path.write_text(json.dumps(state))
    assert calibrate(trained).rows[0].planned_seconds is None


def test_processes_share_the_time_and_with_sharding_the_frozen_layers(tiny_phi3: Path) -> None:
    shape = shape_of(str(tiny_phi3))
    one = CalibrationRow(
        run="r", model=str(tiny_phi3), method="lora", rank=4, context=64, batch=2,
        checkpointing=False, device="cpu", planned_bytes=0, peak_bytes=10**9, memory_error=0.0,
        planned_seconds=None, seconds=1.0, time_error=None, tokens=1000, row=50)
    alone, two, shared = (planned_anew(row, shape) for row in (
        one, replace(one, processes=2), replace(one, processes=4, sharded=True)))
    assert two.planned_bytes == alone.planned_bytes
    assert two.planned_seconds == pytest.approx(alone.planned_seconds / 2)
    # Of two layers: a quarter kept, and both gathered.
    kept = 2 * shape.linear * (1 - 1 / 4 - 2 / 2)
    # And all that leaner modules would not keep: those around which layers are gathered.
    leaner, plain = (sum(parts_of(shape, "lora", Step(
        context=64, batch=2, rank=4, place="cpu", shared=own)).values()) for own in (False, True))
    assert alone.planned_bytes - shared.planned_bytes == kept - (plain - leaner) < kept
    on_cards = [planned_anew(replace(row, device="cuda", card="none"), shape).planned_bytes
                for row in (one, replace(one, processes=4, sharded=True))]
    assert on_cards[0] - on_cards[1] == kept


def test_a_checkpoint_of_shares_is_gathered_in_the_memory_of_a_cpu(tiny_phi3: Path) -> None:
    shape = shape_of(str(tiny_phi3))
    one = CalibrationRow(
        run="r", model=str(tiny_phi3), method="full", rank=4, context=64, batch=2,
        checkpointing=False, device="cpu", planned_bytes=0, peak_bytes=10**9, memory_error=0.0,
        planned_seconds=None, seconds=1.0, time_error=None, tokens=1000, row=50, processes=2)
    for device, gathered in (("cpu", 12 * shape.parameters), ("cuda", 0)):
        row = replace(one, device=device)
        alone, shared = (planned_anew(found, shape) for found in (row, replace(row, sharded=True)))
        assert shared.planned_bytes == (
            alone.planned_bytes - shared_out(shape, "full", 2) + gathered)


@pytest.mark.parametrize("name", ["calibration", "calibration-float32"])
def test_the_kept_rows_hold_what_the_plan_says_now(name: str) -> None:
    kept = json.loads((ROOT / f"docs/measured/{name}.json").read_text())
    rows = [msgspec.convert(row, CalibrationRow) for row in kept["rows"]]
    for row in rows:
        now = planned_anew(row, shape_of(row.model))
        assert now.planned_bytes == row.planned_bytes
        assert now.planned_seconds == pytest.approx(row.planned_seconds, rel=1e-4)
        assert now.time_error == pytest.approx(row.time_error, abs=1e-4)
    assert kept["largest_time_error"] == max((row.time_error or 0.0 for row in rows), key=abs)


def test_changed_data_are_not_compared(trained: Path) -> None:
    forget_plan(trained)
    with Path("train.jsonl").open("a") as file:
        file.write(json.dumps({"question": "Another?", "answer": "Yes."}) + "\n")
    found = calibrate(trained)
    assert found.rows == () and found.largest_memory_error is None
    assert "not the dataset" in found.skipped[0].why


def test_what_the_plan_has_no_term_for_is_compared_and_named(
    project: Path, tiny_phi3: Path,
) -> None:
    (project / "train.jsonl").write_text("".join(json.dumps(e) + "\n" for e in EXAMPLES))
    finetune(settings.load({
        "model.name": str(tiny_phi3), "model.device": "cpu", "finetune.dataset": "train.jsonl",
        "finetune.epochs": 1.0, "finetune.dora": True, "finetune.dropout": 0.1}).values)
    row, = calibrate(project / "runs").rows
    assert row.variants == ("dora", "dropout")
    forget_plan(project / "runs")
    assert calibrate(project / "runs").rows[0].variants == ("dora", "dropout")


def test_passes_are_planned_as_the_run_says_that_they_were(
    trained: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("phi3kit.finetune.predicted.lanes_here", lambda **how: 1)
    _, state = state_of(trained)
    report = msgspec.convert(state["result"], TrainReport)
    assert report.micro_batch_tokens == ON_CPU
    mine = settings.load({"model.name": state["result"]["base"], "finetune.batch_size": 4}).values
    passes = {held: predicted(replace(report, micro_batch_tokens=held), mine, [55] * 8,
                              device="cpu", dtype="bfloat16") for held in (512, 128)}
    assert {held: (row.batch, row.context, row.pass_tokens) for held, row in passes.items()} == {
        512: (4, 56, 220), 128: (2, 56, 128)}


def test_of_a_run_that_is_not_recorded_epochs_are_drawn(trained: Path) -> None:
    report = msgspec.convert(state_of(trained)[1]["result"], TrainReport)
    mine = settings.load({"model.name": report.base, "finetune.batch_size": 4}).values.finetune
    for lanes in (1, 2, 4):
        room = 384 // lanes
        found = drawn([room] * 4, mine, 384, processes=1, lanes=lanes, device="cpu")
        # All lanes at work, as full as they may be.
        assert max(found, key=lambda one: one.width * one.rows) == AtOnce(room, lanes, lanes)
    # A row that takes all cores for itself.
    assert AtOnce(352, 1, 1) in drawn([352, 16, 16, 16], mine, 384, processes=1, lanes=2,
                                      device="cpu")


def test_passages_are_planned_as_any_other_row(trained: Path) -> None:
    report = msgspec.convert(state_of(trained)[1]["result"], TrainReport)
    mine = settings.load({"model.name": report.base, "finetune.passages": 0.3}).values
    row = predicted(report, mine, [55] * 8, device="cpu", dtype="bfloat16")
    mine = settings.load({"model.name": report.base}).values
    assert not row.variants and row == predicted(report, mine, [55] * 8, device="cpu",
                                                 dtype="bfloat16")


def test_what_lanes_compute_at_once_is_counted_together() -> None:
    def micro(*lengths: int) -> dict[str, Any]:
        positions = torch.cat([torch.arange(length) for length in lengths])[None]
        return {"input_ids": torch.zeros_like(positions), "position_ids": positions}

    steps = [micro(390), micro(100, 100), micro(50, 50), micro(200), micro(60)]
    assert computed(steps, Lanes(2, 200), device="cpu") == {
        AtOnce(390, 1, 1), AtOnce(134, 3, 2)}  # the first of each lane: 100 and 100, and 200
    assert computed(steps[:2], None, device="cpu") == {AtOnce(390, 1), AtOnce(100, 2)}
    # Elsewhere attention works on all of a row; rows that are padded are as wide as it.
    assert computed(steps[1:2], None, device="cuda") == {AtOnce(200, 1)}
    padded = {"input_ids": torch.zeros(3, 64, dtype=torch.int64)}
    assert computed([padded], None, device="cpu") == {AtOnce(64, 3)}


def test_what_is_compared_is_what_the_run_computed(
    project: Path, tiny_phi3: Path, monkeypatch: pytest.MonkeyPatch, one_core: None,
) -> None:
    """Of a few steps it is less than the fullest that could have been drawn."""
    examples = [{"question": f"What is {n}?", "answer": "one " * (40 if n < 3 else 1)}
                for n in range(9)]
    (project / "train.jsonl").write_text("".join(json.dumps(e) + "\n" for e in examples))
    given: list[list[int]] = []
    real = Collator.__call__

    def noted(self: Collator, rows: Any) -> Any:
        given.append([len(row.input_ids) for row in rows])
        return real(self, rows)

    monkeypatch.setattr(Collator, "__call__", noted)
    mine = settings.load({
        "model.name": str(tiny_phi3), "model.device": "cpu", "finetune.dataset": "train.jsonl",
        "finetune.epochs": 0.2, "finetune.batch_size": 3}).values
    row = finetune(mine).planned
    assert row is not None and row.lanes == 1
    assert len(given) == 2  # the second was drawn ahead, and not computed
    assert row.context * row.batch == pytest.approx(sum(given[0]), abs=16 + row.batch)


def test_packed_rows_are_planned_as_the_rows_that_they_are(
    project: Path, tiny_phi3: Path,
) -> None:
    (project / "train.jsonl").write_text("".join(json.dumps(e) + "\n" for e in EXAMPLES))
    mine = settings.load({
        "model.name": str(tiny_phi3), "model.device": "cpu", "finetune.dataset": "train.jsonl",
        "finetune.epochs": 1.0, "finetune.batch_size": 4, "finetune.packing": True}).values
    report = finetune(mine)
    row, = calibrate(project / "runs").rows
    # Four rows of 54 or 55 tokens, each attended to by itself, and padding to 224.
    assert (row.batch, row.context, row.variants) == (4, 56, ("packing",))
    assert report.planned == replace(row, run=report.run)
    own = msgspec.structs.replace(mine.finetune, max_tokens=256)
    assert fullest_pass(own, 512, "cpu") == (256, 2) and fullest_pass(own, 512, "gpu") == (512, 1)


def test_a_run_of_another_machine_is_compared_only_when_its_device_is_known(
    trained: Path,
) -> None:
    forget_plan(trained)
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
