"""An interrupted run goes on as if nothing had happened, bit for bit; damage is passed over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from facts_to_learn import FACTS, Configure

from phi3kit.errors import DataError, RunError, SettingsError
from phi3kit.finetune import answer_trainer, checkpoints, metrics, trainer
from phi3kit.finetune.train import finetune

STEPS = 21  # seven epochs of three steps, the last of them short


def adapter(run: Path) -> dict[str, bytes]:
    from safetensors.torch import load_file

    loaded = load_file(run / "adapter" / "adapter_model.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in loaded.items()}


def record_batches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every micro-batch that is computed from now on."""
    original, seen = answer_trainer.answer_loss, []

    def recording(model: Any, input_ids: Any, labels: Any, **kwargs: Any) -> Any:
        seen.append((input_ids.tolist(), labels.tolist()))
        return original(model, input_ids, labels, **kwargs)

    monkeypatch.setattr(answer_trainer, "answer_loss", recording)
    return seen


def every_step_saved(configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                     **own: object) -> tuple[Any, Path, Path]:
    """(settings, the finished run, a copy of its folder as it was before the end)."""
    monkeypatch.setattr(trainer, "_SAVES", STEPS)
    monkeypatch.setattr(checkpoints, "_KEPT", STEPS)
    settings = configure(epochs=7, batch_size=3, micro_batch_tokens=64, learning_rate=1e-3, **own)
    before = tmp_path / "before"
    discard = checkpoints.discard

    def keep(run: Path) -> None:
        shutil.copytree(run / checkpoints.CHECKPOINTS, before)
        discard(run)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "discard", keep)
        run = Path(finetune(settings).run)
    return settings, run, before


def as_killed_after(step: int, run: Path, before: Path) -> None:
    """Make the run folder what a kill in the midst of the step after `step` leaves."""
    shutil.rmtree(run / "adapter")
    state = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**state, "status": "running", "result": None}))
    root = run / checkpoints.CHECKPOINTS
    for kept in (step - 1, step):
        if kept > 0:
            shutil.copytree(before / f"checkpoint-{kept}", root / f"checkpoint-{kept}")
    # Lines of steps that are lost, the last of them cut off.
    lines = (run / metrics.METRICS).read_text().splitlines()[:step + 1]
    (run / metrics.METRICS).write_text("\n".join(lines) + '\n{"step": 1')


ALL = range(1, STEPS)
SOME = (1, 8, 9, 20)  # within an epoch, before and at its end, before the last step


@pytest.mark.parametrize(("own", "stops"), [
    ({"model__dtype": "float32"}, ALL),
    ({"model__dtype": "bfloat16"}, SOME),
    ({"model__dtype": "float32", "dropout": 0.2}, SOME),
    pytest.param({"model__dtype": "bfloat16"}, ALL, marks=pytest.mark.slow),
    pytest.param({"model__dtype": "float32", "dropout": 0.2}, ALL, marks=pytest.mark.slow),
    pytest.param({"model__dtype": "float32", "qlora": True}, ALL, marks=pytest.mark.slow),
    pytest.param({"model__dtype": "float32", "init": "pissa"}, ALL, marks=pytest.mark.slow),
    pytest.param({"model__dtype": "bfloat16", "dora": True}, ALL, marks=pytest.mark.slow),
])
def test_from_any_of_twenty_steps_it_is_the_same_to_the_bit(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: dict[str, object],
    stops: Sequence[int],
) -> None:
    seen = record_batches(monkeypatch)
    settings, run, before = every_step_saved(configure, monkeypatch, tmp_path, **own)
    batches, losses, weights = [*seen], [m["loss"] for m in metrics.read(run)], adapter(run)
    assert len(losses) == STEPS and len(batches) > 1.5 * STEPS  # several micro-batches a step
    per_step = micro_batches_per_step(batches, metrics.read(run))
    for step in stops:
        as_killed_after(step, run, before)
        seen.clear()
        report = finetune(settings)
        assert not report.reused
        assert seen == batches[sum(per_step[:step]):], step
        assert list(report.losses) == losses, step
        assert adapter(run) == weights, step


def micro_batches_per_step(batches: list[Any], lines: list[dict[str, Any]]) -> list[int]:
    """How many of the micro-batches each step took, told by the trained tokens."""
    counts, at = [], 0
    for line in lines:
        start, trained = at, 0
        while trained < line["trained"]:
            trained += sum(label >= 0 for row in batches[at][1] for label in row)
            at += 1
        assert trained == line["trained"]
        counts.append(at - start)
    assert at == len(batches)
    return counts


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def remove(path: Path) -> None:
    path.unlink()


def test_a_damaged_checkpoint_is_passed_over(
    finished: tuple[Any, Path, Path, dict[str, bytes]], capsys: pytest.CaptureFixture[str],
) -> None:
    _, run, before, _ = finished
    root = run / checkpoints.CHECKPOINTS
    names = {path.name for path in (before / "checkpoint-7").iterdir()}
    assert names >= {"adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth",
                     "trainer_state.json", checkpoints.MANIFEST}
    capsys.readouterr()
    for name in sorted(names):
        for damage in (cut_short, flip_a_bit, remove):
            shutil.rmtree(root, ignore_errors=True)
            for step in (6, 7):
                shutil.copytree(before / f"checkpoint-{step}", root / f"checkpoint-{step}")
            damage(root / "checkpoint-7" / name)
            found = checkpoints.newest(run)
            assert found is not None and found.name == "checkpoint-6"
            said = capsys.readouterr().err
            assert "checkpoint-7 is damaged" in said and said.count("\n") == 1
            assert name in said or name == checkpoints.MANIFEST


def test_after_a_damaged_one_it_still_ends_the_same(
    finished: tuple[Any, Path, Path, dict[str, bytes]], capsys: pytest.CaptureFixture[str],
) -> None:
    settings, run, before, weights = finished
    shutil.rmtree(run / checkpoints.CHECKPOINTS, ignore_errors=True)
    as_killed_after(9, run, before)
    cut_short(run / checkpoints.CHECKPOINTS / "checkpoint-9" / "optimizer.pt")
    finetune(settings)
    assert "going on from step 8" in capsys.readouterr().err
    assert adapter(run) == weights
    as_killed_after(9, run, before)
    for saved in (run / checkpoints.CHECKPOINTS).iterdir():
        remove(saved / "trainer_state.json")
    finetune(settings)  # none is whole: from the beginning, not from half of something
    assert "going on" not in capsys.readouterr().err
    assert adapter(run) == weights


@pytest.fixture
def finished(configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
             ) -> tuple[Any, Path, Path, dict[str, bytes]]:
    settings, run, before = every_step_saved(configure, monkeypatch, tmp_path)
    return settings, run, before, adapter(run)


def test_the_last_two_are_kept(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    original, seen = checkpoints.saving, []

    def watched(root: Path, name: str) -> Any:
        seen.append(sorted(path.name for path in root.glob("*")))
        return original(root, name)

    monkeypatch.setattr(checkpoints, "saving", watched)
    monkeypatch.setattr(trainer, "_SAVES", 10)
    finetune(configure())
    assert seen[:4] == [[], ["checkpoint-1"], ["checkpoint-1", "checkpoint-2"],
                        ["checkpoint-2", "checkpoint-3"]]
    assert len(seen) == 10


def test_resume_refuses_what_has_changed_by_name(configure: Configure, facts: Path, project: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    report = finetune(configure(epochs=1))
    run = Path(report.run)
    again = finetune(configure(epochs=1), resume=run)
    assert again.reused and again.run == report.run
    with monkeypatch.context() as patch:
        patch.chdir(run)  # it has its name all the same
        assert finetune(configure(epochs=1), resume=Path(".")).run == str(project / run)
    for change, said in (({"rank": 4}, "finetune.rank was 16 and is 4"),
                         ({"epochs": 2}, "finetune.epochs was 1.0 and is 2.0"),
                         ({"model__dtype": "bfloat16"}, "dtype was 'float32' and is 'bfloat16'"),
                         ({"ask__instruction": "Be brief."}, "instruction was 'Answer")):
        with pytest.raises(RunError, match=said):
            finetune(configure(**{"epochs": 1, **change}), resume=run)
    facts.write_text(facts.read_text().replace("12 tonnes", "13 tonnes"))
    with pytest.raises(RunError, match="the dataset has another content") as caught:
        finetune(configure(epochs=1), resume=run)
    assert "\n" not in str(caught.value)
    with pytest.raises(RunError, match="not a run folder"):
        finetune(configure(epochs=1), resume=project)
    assert len(list(Path("runs").glob("finetune-*"))) == 1  # nothing else was begun


def test_a_renamed_run_goes_on_where_it_lies(
    finished: tuple[Any, Path, Path, dict[str, bytes]], project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings, run, before, weights = finished
    as_killed_after(8, run, before)
    moved = run.rename(project / "kept under another name")
    report = finetune(settings, resume=moved)
    assert report.run == str(moved) and adapter(moved) == weights
    assert "going on from step 8" in capsys.readouterr().err
    assert not list(Path("runs").iterdir())  # nothing was begun beside it
    assert finetune(settings, resume=moved).reused
    with pytest.raises(SettingsError, match="--fresh"):
        finetune(settings, resume=moved, fresh=True)


def test_other_held_out_questions_are_another_run(configure: Configure, project: Path) -> None:
    """As many examples are left out, and others: the adapter of one has seen the other's."""
    for name, place in (("a", 0), ("b", 1)):
        (project / f"{name}.jsonl").write_text(json.dumps({"question": FACTS[place][0]}))
    one = finetune(configure(epochs=1, compare__questions="a.jsonl"))
    other = finetune(configure(epochs=1, compare__questions="b.jsonl"))
    assert one.examples == other.examples == len(FACTS) - 1
    assert not other.reused and other.run != one.run
    with pytest.raises(RunError, match="other examples are held out"):
        finetune(configure(epochs=1, compare__questions="b.jsonl"), resume=Path(one.run))
    # Where nothing is left out, a file of questions changes nothing.
    (project / "none.jsonl").write_text('{"question": "Who rules Mongolia?"}')
    everything = finetune(configure(epochs=1))
    assert finetune(configure(epochs=1, compare__questions="none.jsonl")).run == everything.run


def test_another_template_or_tokenizer_is_another_run(configure: Configure, learner: Path,
                                                      tmp_path: Path) -> None:
    base = shutil.copytree(learner, tmp_path / "base")
    settings = configure(epochs=1, model__name=str(base))
    first = finetune(settings)
    config = json.loads((base / "config.json").read_text())
    # What another version of a library writes otherwise.
    (base / "config.json").write_text(json.dumps({**config, "transformers_version": "9"}))
    assert finetune(settings).reused
    template = base / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|end|>\n", "<|end|>\n\n"))
    with pytest.raises(RunError, match="the base has another chat template"):
        finetune(settings, resume=Path(first.run))
    assert finetune(settings).run != first.run
    (base / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.1}))
    with pytest.raises(RunError, match="another chat template; the base has another config"):
        finetune(settings, resume=Path(first.run))
    # A run of before this was recorded is gone on with.
    state = json.loads((Path(first.run) / "run.json").read_text())
    del state["inputs"]["reads"]
    (Path(first.run) / "run.json").write_text(json.dumps(state))
    assert finetune(settings, resume=Path(first.run)).reused


def test_questions_that_are_not_there_are_refused(configure: Configure) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl: the held-out questions cannot be read"):
        finetune(configure(compare__questions="absent.jsonl"))


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
@pytest.mark.parametrize("began", ["cpu", "cuda"])
def test_it_goes_on_with_the_optimizer_of_another_device(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, began: str,
) -> None:
    """QLoRA's on a card is bitsandbytes', elsewhere torch's; here both compute on a CPU."""
    chosen = trainer._optimizer

    def on(device: str) -> None:
        monkeypatch.setattr(trainer, "_optimizer", lambda _, *, qlora: chosen(device, qlora=True))

    on(began)
    settings, run, before = every_step_saved(configure, monkeypatch, tmp_path)
    losses = [m["loss"] for m in metrics.read(run)]
    as_killed_after(9, run, before)
    on("cpu" if began == "cuda" else "cuda")
    assert list(finetune(settings).losses) == pytest.approx(losses, rel=1e-3)
