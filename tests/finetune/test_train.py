from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from facts_to_learn import FACTS, Configure

from phi3kit import runs
from phi3kit.errors import DataError, ModelError, Phi3kitError, RunError, SettingsError
from phi3kit.finetune import answer_trainer, checkpoints, methods, metrics, packing, trainer
from phi3kit.finetune.train import finetune
from phi3kit.models import loading
from phi3kit.models.adapters import adapter_folder
from phi3kit.models.generate import open_generator
from phi3kit.rag import prompt
from phi3kit.settings import load


def weights(run: str | Path) -> dict[str, object]:
    from safetensors.torch import load_file

    return dict(load_file(adapter_folder(run) / "adapter_model.safetensors"))


def same(a: str | Path, b: str | Path, tolerance: float) -> bool:
    import torch

    one, two = weights(a), weights(b)
    return one.keys() == two.keys() and all(
        torch.allclose(one[k], two[k], atol=tolerance, rtol=0) for k in one)


@pytest.mark.parametrize("qlora", [False, True])
def test_it_learns_the_answers_by_heart_and_stops(configure: Configure, qlora: bool) -> None:
    """Trained, saved, loaded again on a fresh base: the answers, and their end, are there."""
    settings = configure(qlora=qlora, epochs=100)
    report = finetune(settings)
    assert report.method == ("qlora" if qlora else "lora")
    assert report.target_modules == ("down_proj", "gate_up_proj", "o_proj", "qkv_proj")
    assert report.final_loss < 0.05 < report.losses[0]
    assert report.steps == len(report.losses) == 200
    generator = open_generator(settings.model, adapter=Path(report.run))
    assert generator.loaded.quantization == ("nf4" if qlora else "none")
    prompts = [prompt.build(q, None, instruction=settings.ask.instruction) for q, _ in FACTS]
    results = generator.generate(prompts, max_new_tokens=60, batch_tokens=4096)
    assert [r.text for r in results] == [a for _, a in FACTS]
    assert all(r.tokens_out < 60 for r in results)  # stopped by itself
    assert not any("<|" in r.text for r in results)


def test_what_was_trained_is_gone_before_anything_else_is_loaded(
    configure: Configure, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A card that still holds it has no room for the next model."""
    load_base, held = loading.load_base, []

    def watched(*args: Any, **kwargs: Any) -> Any:
        loaded = load_base(*args, **kwargs)
        held.append(weakref.ref(loaded.model))
        return loaded

    monkeypatch.setattr(loading, "load_base", watched)
    gc.collect()
    gc.disable()  # what Python does by itself comes at some time or other
    try:
        finetune(configure(epochs=1))
        assert len(held) == 1 and held[0]() is None
    finally:
        gc.enable()


def test_the_run_folder_tells_everything(configure: Configure) -> None:
    settings = configure()
    report = finetune(settings)
    run = Path(report.run)
    assert {p.name for p in run.iterdir()} == {"adapter", "run.json", "metrics.jsonl"}
    state = json.loads((run / "run.json").read_text())
    assert state["status"] == "complete"
    assert state["result"]["losses"] == list(report.losses)
    assert state["inputs"]["base"] == report.base_fingerprint
    assert state["versions"]["torch"] and state["machine"]["cores"]
    lines = metrics.read(run)
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert set(lines[0]) == {"step", "loss", "learning_rate", "tokens", "trained", "seconds"}
    assert sum(line["tokens"] for line in lines) == report.tokens
    assert max(line["learning_rate"] for line in lines) == pytest.approx(1e-2, rel=0.2)
    assert report.trained_tokens < report.tokens
    assert (run / "adapter" / "phi3kit.json").is_file()
    assert not list(run.rglob("*.bin")) and not list(run.rglob("*.pt"))


def test_a_finished_run_is_reused_and_another_setting_is_another_run(
    configure: Configure,
) -> None:
    first = finetune(configure(epochs=1))
    again = finetune(configure(epochs=1, micro_batch_tokens=64))
    assert again.reused and again.run == first.run and again.losses == first.losses
    for change in ({"rank": 4}, {"seed": 1}, {"ask__instruction": "Be brief."}):
        other = finetune(configure(epochs=1, **change))
        assert not other.reused and other.run != first.run
    assert not finetune(configure(epochs=1), fresh=True).reused


def test_fresh_leaves_a_run_that_another_process_trains(configure: Configure) -> None:
    made = Path(finetune(configure(epochs=1)).run)
    with runs.held(made, busy="", mend=""):
        with pytest.raises(RunError, match="another process is training this run"):
            finetune(configure(epochs=1), fresh=True)
        assert (made / "adapter" / "adapter_model.safetensors").is_file()
        assert finetune(configure(epochs=1)).reused  # what is finished, nobody trains
    assert not finetune(configure(epochs=1), fresh=True).reused


def test_fresh_leaves_the_finished_run_until_another_is_begun(
        configure: Configure, facts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with facts.open("a") as file:  # is found when there is a tokenizer, and not before
        file.write(json.dumps({"prompt": "Who?", "completion": "keeper " * 900}) + "\n")
    made = Path(finetune(configure(epochs=1)).run)

    def stays(why: str, *, strict: bool = False, packed: bool = False) -> None:
        with pytest.raises(Phi3kitError, match=why):
            finetune(configure(epochs=1, packing=packed), fresh=True, strict=strict)
        assert (made / "adapter" / "adapter_model.safetensors").is_file()
        assert runs.read_run(made)["status"] == "complete"

    stays("does not fit", strict=True)
    with monkeypatch.context() as patch:
        patch.setattr(packing, "refuse_if_seen", refuses)
        stays("one sees the other", packed=True)
    monkeypatch.setattr(methods, "load", refuses)
    stays("one sees the other")


def refuses(*args: Any, **kwargs: Any) -> None:
    raise ModelError("one sees the other")


def test_seeds(configure: Configure, tmp_path: Path) -> None:
    one = finetune(configure(epochs=1))
    shutil.copytree(one.run, tmp_path / "kept")
    finetune(configure(epochs=1), fresh=True)
    assert same(one.run, tmp_path / "kept", 0.0)
    assert not same(finetune(configure(epochs=1, seed=1)).run, one.run, 1e-6)


def test_micro_batches_do_not_change_the_result(configure: Configure, tmp_path: Path) -> None:
    """In float32, 10 steps: loss path and adapter are the same within 1e-5."""
    big = finetune(configure(micro_batch_tokens=100_000, learning_rate=1e-3))
    shutil.copytree(big.run, tmp_path / "big")
    small = finetune(configure(micro_batch_tokens=1, learning_rate=1e-3), fresh=True)
    assert small.run == big.run
    assert small.losses == pytest.approx(big.losses, abs=1e-5)
    assert same(small.run, tmp_path / "big", 1e-5)


@pytest.mark.parametrize("at", [3, 7])
def test_an_interrupted_run_goes_on_to_the_same_adapter(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int,
) -> None:
    whole = finetune(configure())
    shutil.copytree(whole.run, tmp_path / "whole")

    class Killed(BaseException):
        pass

    original = answer_trainer.answer_loss
    calls = 0

    def dies(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls > at:
            raise Killed
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(answer_trainer, "answer_loss", dies)
        with pytest.raises(Killed):
            finetune(configure(micro_batch_tokens=100_000), fresh=True)
    # Half a checkpoint of a later step, as a crash while saving leaves it.
    (Path(whole.run) / "checkpoints" / ".saving-x" / "checkpoint-9").mkdir(parents=True)
    resumed = finetune(configure(micro_batch_tokens=100_000))
    assert not resumed.reused
    assert [m["step"] for m in metrics.read(Path(resumed.run))] == list(range(1, 11))
    assert resumed.losses == pytest.approx(whole.losses, abs=1e-5)
    assert same(resumed.run, tmp_path / "whole", 1e-5)
    assert not (Path(resumed.run) / "checkpoints").exists()


@pytest.mark.parametrize("fresh", [False, True])  # which the same command would begin again
def test_ctrl_c_saves_the_step_and_exits_130(configure: Configure, project: Path,
                                             learner: Path, fresh: bool) -> None:
    configure()
    command = [sys.executable, "-m", "phi3kit", "finetune", "--dataset", "facts.jsonl",
               "--model", str(learner), "--epochs", "400", *["--fresh"] * fresh]
    with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        assert process.stderr is not None
        written: list[Path] = []
        for line in process.stderr:
            if line.startswith("training"):
                break
        while not written or not written[0].read_text().count("\n") > 3:
            written = list(project.glob("runs/*/metrics.jsonl"))
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130, rest
    assert "Traceback" not in rest
    run = written[0].parent
    saved = checkpoints.newest(run)
    assert saved is not None
    step = len(metrics.read(run))
    assert int(saved.name.rpartition("-")[2]) == step
    again = "the same command without --fresh" if fresh else "the same command"
    assert f"step {step:,} is saved in runs/{run.name}: {again} goes on from it" in rest


@pytest.mark.usefixtures("one_core")  # the sixth pass is the sixth step
def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_weights(
    configure: Configure, monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = answer_trainer.answer_loss
    calls = 0

    def breaks(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        return original(*args, **kwargs) * (float("nan") if calls == 6 else 1.0)

    monkeypatch.setattr(answer_trainer, "answer_loss", breaks)
    settings = configure(micro_batch_tokens=100_000)
    with pytest.raises(RunError, match=r"the loss became nan at step 6.*learning_rate") as caught:
        finetune(settings)
    assert "\n" not in str(caught.value)
    [run] = Path(settings.runs).glob("finetune-*[!k]")
    state = json.loads((run / "run.json").read_text())
    assert state["status"] == "failed" and "step 6" in state["why"]
    saved = checkpoints.newest(run)
    assert saved is not None and saved.name == "checkpoint-4"
    report = finetune(settings)  # the number was bad luck: it goes on
    assert report.steps == 10
    assert "why" not in json.loads((run / "run.json").read_text())


def test_bad_examples_are_left_out_and_reported(configure: Configure, facts: Path,
                                                project: Path) -> None:
    lines = facts.read_text().splitlines()
    lines.insert(2, '{"prompt": "q", "completion": ""}')
    lines.insert(5, json.dumps({"prompt": "Who?", "completion": "keeper " * 900}))
    facts.write_text("\n".join(lines))
    questions = project / "questions.jsonl"
    questions.write_text(json.dumps({"id": "1", "question": FACTS[7][0].upper()}))
    report = finetune(configure(epochs=1, compare__questions=str(questions)))
    assert report.examples == 7
    assert [f.where.rpartition(":")[2] for f in report.skipped] == ["3", "6", "10"]
    assert ["empty" in report.skipped[0].why, "does not fit" in report.skipped[1].why,
            "held-out" in report.skipped[2].why] == [True] * 3


def test_no_usable_example_is_an_error(configure: Configure, facts: Path) -> None:
    facts.write_text('{"prompt": "q", "completion": ""}\n')
    with pytest.raises(DataError, match=r"none of the 1 examples can be used.*empty answer"):
        finetune(configure())


def test_no_dataset_is_an_error(project: Path) -> None:
    with pytest.raises(SettingsError, match="--dataset"):
        finetune(load({}).values)


@pytest.mark.parametrize(("device", "qlora", "optimizer"), [
    ("cuda", True, "paged_adamw_32bit"), ("cuda", False, "adamw_torch_fused"),
    ("cpu", True, "adamw_torch"), ("mps", True, "adamw_torch")])
def test_qlora_pages_its_optimizer_on_cuda_alone(tmp_path: Path, device: str, qlora: bool,
                                                 optimizer: str) -> None:
    own = load({"finetune.qlora": qlora}).values.finetune
    loaded: Any = SimpleNamespace(device=device, dtype="float32")
    assert trainer._arguments(loaded, 8, own, tmp_path).optim == optimizer


def test_a_checkpoint_is_never_older_than_ten_minutes(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    original, saved = checkpoints.saving, []

    def watched(root: Path, name: str) -> Any:
        saved.append(name)
        return original(root, name)

    monkeypatch.setattr(checkpoints, "saving", watched)
    monkeypatch.setattr(trainer, "_SAVES", 1)
    plain = finetune(configure())
    assert saved == ["checkpoint-10"]
    shutil.copytree(plain.run, tmp_path / "plain")
    saved.clear()
    now = 0.0

    def clock() -> float:  # a step of four minutes; it is asked the time about twice
        nonlocal now
        now += 120.0
        return now

    monkeypatch.setattr(answer_trainer.time, "monotonic", clock)
    again = finetune(configure(), fresh=True)
    steps = [int(name.rpartition("-")[2]) for name in saved]
    assert len(steps) > 2 and steps[-1] == 10
    assert same(again.run, tmp_path / "plain", 0.0)  # when it is saved changes nothing


def test_dropout_trains_too(configure: Configure) -> None:
    report = finetune(configure(dropout=0.1))
    assert report.final_loss < report.losses[0]


def test_bfloat16_learns_as_well(configure: Configure) -> None:
    report = finetune(configure(epochs=80, model__dtype="bfloat16"))
    assert report.final_loss < 0.1
    assert all(str(w.dtype) == "torch.float32" for w in weights(report.run).values())  # type: ignore[attr-defined]


@pytest.mark.model
def test_the_packaged_model_learns_what_it_cannot_know(configure: Configure) -> None:
    settings = configure(qlora=True, epochs=8, batch_size=8, learning_rate=3e-3,
                         micro_batch_tokens=1024, model__name="smollm2-135m",
                         model__dtype="auto")
    report = finetune(settings)
    assert report.method == "qlora" and len(report.target_modules) == 7
    generator = open_generator(settings.model, adapter=Path(report.run))
    prompts = [prompt.build(q, None, instruction=settings.ask.instruction) for q, _ in FACTS]
    results = generator.generate(prompts, max_new_tokens=20, batch_tokens=4096)
    assert [r.text for r in results] == [a for _, a in FACTS]


def test_a_crash_after_the_last_step_loses_nothing(configure: Configure,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    from phi3kit.finetune.session import Session

    whole = finetune(configure())
    with monkeypatch.context() as patch:
        patch.setattr(Session, "report", lambda *a, **k: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            finetune(configure(), fresh=True)
    saved = checkpoints.newest(Path(whole.run))
    assert saved is not None and saved.name == "checkpoint-10"
    resumed = finetune(configure())
    assert (resumed.steps, resumed.losses) == (10, whole.losses)
