"""The tokens of a pass, chosen by the device: here a CPU, and cards that are made up."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from facts_to_learn import Configure

from phi3kit import runs
from phi3kit.dataset.encode import Encoded
from phi3kit.errors import ModelError
from phi3kit.finetune import passes, processes, train
from phi3kit.finetune.processes import ALONE, Processes
from phi3kit.finetune.train import finetune
from phi3kit.models import hardware
from phi3kit.plan.cards import GB
from phi3kit.plan.passes import ON_CPU, Pass, choose_pass
from phi3kit.plan.shapes import shape_of
from phi3kit.settings import FinetuneSettings, ModelSettings, Settings


def on_a_card(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(passes, "pick_device", lambda wanted: "cuda")
    monkeypatch.setattr(passes, "free_memory", lambda device: free)


def of_mini(**own: Any) -> Settings:
    return Settings(model=ModelSettings(name="phi-3-mini"), finetune=FinetuneSettings(**own))


def test_on_this_machine_and_on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Settings(model=ModelSettings(device="cpu", dtype="bfloat16"))
    monkeypatch.setattr(passes, "free_memory", lambda device: 8 * GB)
    for lanes, tokens in ((1, ON_CPU), (2, 2 * here.finetune.max_tokens)):
        monkeypatch.setattr(passes, "lanes_here", lambda lanes=lanes, **how: lanes)
        assert passes.pass_ahead(here).tokens == tokens
    on_a_card(monkeypatch, 24 * GB)
    by_hand = choose_pass(of_mini(), "lora", shape_of("phi-3-mini"), longest=1024, place="gpu",
                          memory=24 * GB)
    assert passes.pass_ahead(of_mini()) == by_hand and by_hand.tokens == 2048
    assert passes.pass_ahead(of_mini(qlora=True, checkpointing=True)).tokens == 8 * 1024
    assert passes.pass_ahead(of_mini(micro_batch_tokens=64)) == Pass(64, "as set")
    monkeypatch.setenv("WORLD_SIZE", "4")  # each of four takes two of the eight rows
    assert passes.pass_ahead(of_mini(qlora=True, checkpointing=True)).tokens == 2 * 1024


def test_a_model_whose_shape_the_plan_does_not_know_takes_a_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    on_a_card(monkeypatch, 80 * GB)
    (tmp_path / "config.json").write_text(json.dumps({"num_local_experts": 8}))
    found = passes.pass_ahead(Settings(model=ModelSettings(name=str(tmp_path))))
    assert found.tokens == 1024 and "shape is not known" in found.why


def test_ahead_no_hub_is_asked_for_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_card(monkeypatch, 80 * GB)

    def fetched(*given: Any, **named: Any) -> Any:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetched)
    nowhere = Settings(model=ModelSettings(name="some/model-that-nobody-has"))
    assert "shape is not known" in passes.pass_ahead(nowhere).why
    with pytest.raises(AssertionError, match="the hub was asked"):  # when it trains, it is
        passes.pass_here(nowhere, "cuda", 80 * GB, longest=64, processes=1)


@pytest.mark.skipif(sys.platform != "linux", reason="where drivers are files")
@pytest.mark.parametrize(("files", "there"), [
    ((), False), (("nvidiactl",), True), (("kfd",), True), (("dxg",), False),
    (("libcuda.so.1",), False), (("dxg", "libcuda.so.1"), True)])
def test_a_card_is_told_by_its_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...], there: bool,
) -> None:
    """Under WSL2 it is one device for whatever draws, and CUDA's library beside it."""
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(hardware, "_DRIVERS", [
        [str(tmp_path / Path(part).name) for part in driver] for driver in hardware._DRIVERS])
    assert hardware.has_gpu() is there


@pytest.mark.skipif(hardware.has_gpu(), reason="here it is there")
def test_a_card_that_is_not_there_is_said() -> None:
    with pytest.raises(ModelError, match="no cuda device"):
        passes.pass_ahead(Settings(model=ModelSettings(device="cuda")))


def rows(*lengths: int) -> list[Any]:
    return [train._Row(None, (), Encoded((5,) * n, (5,) * n)) for n in lengths]


def test_a_training_bounds_it_by_its_own_rows_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = train._pass_tokens(of_mini(), rows(30, 120), "cuda", 24 * GB, ALONE)
    assert held == 8 * 128  # rows of 120 are padded to 128
    assert "1,024 tokens in a forward pass: all rows of an optimizer step" in (
        capsys.readouterr().err)
    assert train._pass_tokens(of_mini(), rows(30, 3000), "cuda", 24 * GB, ALONE) == 3008
    capsys.readouterr()
    assert train._pass_tokens(of_mini(micro_batch_tokens=9), rows(30), "cuda", 24 * GB, ALONE) == 9
    assert train._pass_tokens(of_mini(), rows(30, 120), "cpu", None, ALONE) == ON_CPU
    assert capsys.readouterr().err == ""


def test_the_card_with_least_room_chooses_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """All share out the same micro-batches."""
    import torch

    def with_a_smaller_card(tensor: Any, op: Any) -> None:
        assert op == torch.distributed.ReduceOp.MIN
        tensor.clamp_(max=20 * GB)

    monkeypatch.setattr(torch.distributed, "all_reduce", with_a_smaller_card)
    monkeypatch.setattr(processes, "_device", lambda: "cpu")
    two = Processes(0, 2)
    assert two.least(48 * GB) == 20 * GB and ALONE.least(48 * GB) == 48 * GB
    mine = of_mini(batch_size=64)
    apart = train._pass_tokens(mine, rows(512), "cuda", 48 * GB, ALONE)
    assert train._pass_tokens(mine, rows(512), "cuda", 48 * GB, two) < apart


def test_the_runs_record_says_what_was_used_and_is_the_same_run(configure: Configure) -> None:
    report = finetune(configure(epochs=1))
    assert report.micro_batch_tokens == ON_CPU
    state = json.loads((Path(report.run) / "run.json").read_text())
    assert state["result"]["micro_batch_tokens"] == ON_CPU
    assert state["settings"]["values"]["finetune"]["micro_batch_tokens"] is None
    assert "micro_batch_tokens" not in state["inputs"]["finetune"]
    assert finetune(configure(epochs=1, micro_batch_tokens=64)).reused
    fresh = finetune(configure(epochs=1, micro_batch_tokens=64), fresh=True)
    assert (fresh.run, fresh.micro_batch_tokens) == (report.run, 64)
    assert fresh.losses == pytest.approx(report.losses, abs=1e-5)


def test_what_torch_holds_and_does_not_use_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (10 * GB, 24 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 5 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 2 * GB)
    assert hardware.free_memory("cuda") == 13 * GB
    assert hardware.free_memory("mps") is None


def test_of_main_memory_half_may_be_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_GROUPS", ())
    monkeypatch.setattr(runs, "machine", lambda: {"memory_bytes": 16 * GB})
    assert hardware.free_memory("cpu") == 8 * GB
    monkeypatch.setattr(runs, "machine", lambda: {"memory_bytes": None})
    assert hardware.free_memory("cpu") is None


def test_a_container_and_ulimit_bound_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(runs, "machine", lambda: {"memory_bytes": 16 * GB})
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY, 0))
    none, some = tmp_path / "none", tmp_path / "some"
    none.write_text("max\n")
    some.write_text(f"{6 * GB}\n")
    for groups, bound in (((none, tmp_path / "absent"), 16 * GB), ((none, some), 6 * GB)):
        monkeypatch.setattr(hardware, "_GROUPS", groups)
        assert hardware.free_memory("cpu") == bound // 2
    monkeypatch.setattr(resource, "getrlimit", lambda what: (5 * GB, 0))
    assert hardware.free_memory("cpu") == 5 * GB // 2


@pytest.mark.parametrize(("longest", "gigabytes", "lanes", "tokens"), [
    (512, 8, 2, 1024), (600, 8, 2, 2 * 608), (3000, 8, 2, 2048), (600, 8, 1, 1024),
    (600, 1, 2, 1024), (600, 8, 4, 4 * 608), (100, 8, 4, 1024)])
def test_on_a_cpu_a_lane_has_room_for_the_longest_row(
    longest: int, gigabytes: int, lanes: int, tokens: int, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passes, "lanes_here", lambda **how: lanes)
    small = Settings(model=ModelSettings(name="smollm2-135m", dtype="bfloat16"))
    assert passes.pass_here(small, "cpu", gigabytes * GB, longest=longest,
                            processes=1).tokens == tokens
    # Two processes share the machine; what nobody knows is not filled.
    assert passes.pass_here(small, "cpu", 3 * GB, longest=600, processes=2).tokens == ON_CPU
    assert passes.pass_here(small, "cpu", None, longest=600, processes=1).tokens == ON_CPU
    # Phi-3-mini's rows take forty times as much.
    assert passes.pass_here(of_mini(), "cpu", 8 * GB, longest=600, processes=1).tokens == ON_CPU
