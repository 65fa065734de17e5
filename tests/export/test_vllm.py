from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from phi3kit.errors import ModelError
from phi3kit.export import vllm
from phi3kit.export.run import export
from phi3kit.export.source import read_source
from phi3kit.settings import load


def test_the_command_names_base_adapter_and_a_rank_that_vllm_has(
    train: Callable[..., Path], base: Path,
) -> None:
    run = train(rank=12, epochs=2)
    before = {p.name for p in run.iterdir()}
    report = export(load({}).values, run, to="vllm")
    words = shlex.split(report.command)
    assert words[:3] == ["vllm", "serve", str(base)]
    assert words[words.index("--max-lora-rank") + 1] == "16"
    assert words[words.index("--lora-modules") + 1] == f"{run.name}={run / 'adapter'}"
    assert report.out == "" and {p.name for p in run.iterdir()} == before
    assert report.stages[1].loss == pytest.approx(report.stages[0].loss, abs=1e-6)


def test_a_run_that_is_the_working_folder_keeps_its_name(
    lora: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(lora)
    source = read_source(Path("."), load({}).values)
    assert f"{lora.name}={lora / 'adapter'}" in vllm.command(source, 16)


def test_with_a_folder_the_command_is_a_script(lora: Path, tmp_path: Path) -> None:
    report = export(load({}).values, lora, to="vllm", out=tmp_path / "v")
    script = tmp_path / "v" / "serve.sh"
    fake = tmp_path / "vllm"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    said = subprocess.run([script], capture_output=True, text=True, check=True,
                          env={"PATH": f"{tmp_path}:/usr/bin:/bin"}).stdout
    assert ["vllm", *said.split()] == shlex.split(report.command)


def test_a_whole_model_is_served_as_it_is(train: Callable[..., Path]) -> None:
    run = train(full=True, learning_rate=1e-3)
    words = shlex.split(export(load({}).values, run, to="vllm").command)
    assert words[:3] == ["vllm", "serve", str(run / "model")]
    assert "--enable-lora" not in words


def test_dora_is_refused_before_anything_is_loaded(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
) -> None:
    from phi3kit.export import run as runs

    run = train(dora=True, epochs=1)
    monkeypatch.setattr(runs, "load_unmerged", lambda *a: pytest.fail("loaded"))
    with pytest.raises(ModelError, match="DoRA"):
        export(load({}).values, run, to="vllm")


@pytest.mark.parametrize(("config", "why"), [
    ({"r": 8, "bias": "all"}, "biases"),
    ({"r": 8, "modules_to_save": ["lm_head"]}, "trained whole"),
    ({"r": 8, "rank_pattern": {"q": 600}}, "600"),
])
def test_what_vllm_does_not_serve(tmp_path: Path, config: dict[str, object], why: str) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=why):
        vllm.served_rank(tmp_path)
