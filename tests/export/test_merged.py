from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from phi3kit.errors import DataError, ModelError, RunError
from phi3kit.export import merged
from phi3kit.export.run import export
from phi3kit.models import adapters
from phi3kit.models.generate import open_generator
from phi3kit.models.loading import load_base
from phi3kit.settings import ModelSettings, load


def model(name: Path, **own: str) -> ModelSettings:
    return ModelSettings(name=str(name), device="cpu", dtype="float32", **own)


def test_a_merged_model_answers_as_base_and_adapter(lora: Path, base: Path,
                                                    tmp_path: Path) -> None:
    import torch

    out = tmp_path / "merged"
    report = export(load({}).values, lora, to="merged", out=out)
    assert report.stages[0].loss < 0.5  # it has learnt something that could be lost
    assert report.stages[1].loss == pytest.approx(report.stages[0].loss, abs=1e-5)
    assert report.stages[1].same_tokens == 1.0
    assert report.stages[1].same_answers == report.prompts == 6
    adapted = open_generator(model(base), adapter=lora).loaded
    alone = load_base(model(out), quantization="none")
    ids = torch.tensor([[5, 40, 41, 42, 6]])
    with torch.inference_mode():
        assert torch.allclose(adapted.model(ids).logits, alone.model(ids).logits, atol=1e-4)
    assert set(report.files) == {p.name for p in out.iterdir()}
    assert not list(out.glob("adapter*")) and list(out.glob("*.safetensors"))
    assert alone.tokenizer.chat_template == adapted.tokenizer.chat_template
    stops = json.loads((out / "generation_config.json").read_text())["eos_token_id"]
    assert alone.tokenizer.convert_tokens_to_ids("<|end|>") in stops
    measured = json.loads((out / "export.json").read_text())
    assert [s["loss"] for s in measured["stages"]] == [s.loss for s in report.stages]


def test_16_bits_are_written_where_they_are_asked_for(lora: Path, tmp_path: Path) -> None:
    settings = load({"model.dtype": "bfloat16"}).values
    report = export(settings, lora, to="merged", out=tmp_path / "m")
    assert json.loads((tmp_path / "m" / "config.json").read_text())["dtype"] == "bfloat16"
    assert report.stages[1].name == "merged (bfloat16)"
    assert report.stages[1].loss != report.stages[0].loss


def test_after_qlora_the_full_weights_are_written_and_the_change_is_told(
    train: Callable[..., Path], tmp_path: Path,
) -> None:
    run = train(qlora=True)
    report = export(load({}).values, run, to="merged", out=tmp_path / "m")
    change = report.stages[1].loss - report.stages[0].loss
    assert change != 0
    assert any("NF4" in line and f"{change:+.4f}" in line for line in report.notes)
    assert "quantization_config" not in json.loads((tmp_path / "m" / "config.json").read_text())


def test_4_bit_weights_take_no_adapter(train: Callable[..., Path], base: Path) -> None:
    loaded = load_base(model(base), quantization="nf4")
    adapters.attach(loaded, train(qlora=True))
    with pytest.raises(ModelError, match="16 levels"):
        adapters.merge(loaded)


def test_what_loses_the_training_is_refused_and_leaves_nothing(
    lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A merge that forgets the adapter: the loss shows it."""
    monkeypatch.setattr(adapters, "merge", adapters.detach)
    target = tmp_path / "new" / "merged"
    with pytest.raises(RunError, match=r"0\.05 are allowed; nothing was written"):
        export(load({}).values, lora, to="merged", out=target)
    assert list(target.parent.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(
    lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    import errno

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(merged, "write_json", full)
    with pytest.raises(RunError, match="the disk is full"):
        export(load({}).values, lora, to="merged", out=tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_not_touched(lora: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="is there already"):
        export(load({}).values, lora, to="merged", out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_other_examples_can_be_measured_on(lora: Path, tmp_path: Path) -> None:
    others = tmp_path / "others.jsonl"
    others.write_text(json.dumps({"prompt": "Which seal?", "completion": "The north gate."}) + "\n")
    report = export(load({}).values, lora, to="merged", out=tmp_path / "m", examples=others)
    assert (report.examples, report.seen, report.measured_on) == (1, False, str(others))
    assert not any("trained on" in line and "--examples" in line for line in report.notes)
    with pytest.raises(DataError, match=r"gone\.jsonl"):
        export(load({}).values, lora, to="merged", out=tmp_path / "n",
               examples=tmp_path / "gone.jsonl")


def test_a_whole_model_needs_no_merge(train: Callable[..., Path], tmp_path: Path) -> None:
    run = train(full=True, learning_rate=1e-3)
    with pytest.raises(ModelError, match="no adapter to merge"):
        export(load({}).values, run, to="merged", out=tmp_path / "m")
    report = export(load({}).values, run, to="gguf", out=tmp_path / "g", weights="f16")
    assert report.method == "full" and report.stages[-1].same_tokens == 1.0


def test_only_finished_runs(lora: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        export(load({}).values, tmp_path, to="merged")
    state = json.loads((lora / "run.json").read_text())
    half = tmp_path / "half"
    half.mkdir()
    (half / "run.json").write_text(json.dumps({**state, "status": "running"}))
    with pytest.raises(RunError, match=r"not finished\. Finish it: api\.finetune with "):
        export(load({}).values, half, to="merged")
