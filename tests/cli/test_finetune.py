from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from phi3kit.models.hardware import has_gpu

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    rows = [{"instruction": f"label: ticket {i}", "output": "pump_fault"} for i in range(6)]
    path.write_text("\n".join([*map(json.dumps, rows), '{"instruction": "label: x"']))
    return path


def test_report_reuse_and_json(run_cli: Run, tiny_phi3: Path, dataset: Path,
                               tmp_path: Path) -> None:
    command = ["finetune", "--dataset", dataset.name, "--model", str(tiny_phi3),
               "--epochs", "2", "--rank", "4"]
    done = run_cli(*command)
    assert done.returncode == 0, done.stderr
    for line in ("format    Alpaca", "examples  6, 1 left out", "qkv_proj",
                 "train.jsonl:7: not valid JSON", "phi3kit ask --adapter runs/finetune-",
                 "phi3kit compare --adapter runs/finetune-"):
        assert line in done.stdout
    assert "Warning" not in done.stderr and "%|" not in done.stderr
    again = run_cli(*command, "--json")
    report = json.loads(again.stdout)
    assert report["reused"] is True
    assert report["format"] == "Alpaca"
    assert f"reusing {report['run']}" in again.stderr
    assert (tmp_path / report["run"] / "adapter" / "adapter_model.safetensors").is_file()


def test_dry_run_names_sources_and_trains_nothing(run_cli: Run, tmp_path: Path) -> None:
    (tmp_path / "phi3kit.yaml").write_text("finetune:\n  epochs: 7\n")
    done = run_cli("finetune", "--rank", "3", "--qlora", "--dry-run")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "7.0  (file" in lines["finetune.epochs"]
    assert "3  (flag)" in lines["finetune.rank"]
    assert "true  (flag)" in lines["finetune.qlora"]
    assert "(default)" in lines["finetune.seed"]
    assert "null  (default: 512 tokens; a CPU gains little from more)" in (
        lines["finetune.micro_batch_tokens"]) or has_gpu()
    assert not (tmp_path / "runs").exists()


def test_every_setting_of_a_run_has_a_flag(run_cli: Run, tmp_path: Path) -> None:
    given = {"finetune.batch-size": "4", "finetune.max-tokens": "256", "finetune.alpha": "8",
             "finetune.dropout": "0.1", "finetune.micro-batch-tokens": "64",
             "model.device": "cpu", "model.dtype": "float32", "compare.questions": "q.jsonl"}
    flags = [part for key, value in given.items()
             for part in (f"--{key.partition('.')[2]}", value)]
    done = run_cli("finetune", *flags, "--dry-run")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    for key, value in given.items():
        assert value in lines[key.replace('-', '_')] and "(flag)" in lines[key.replace('-', '_')]


@pytest.mark.parametrize(("args", "code", "why"), [
    (["--dataset", "absent.jsonl"], 1, "absent.jsonl: no such file"),
    ([], 2, "finetune.dataset: no dataset"),
    (["--dataset", "train.jsonl", "--model", "absent"], 1, "no folder and no known model"),
    (["--dataset", "train.jsonl", "--passages", "0.5"], 1, "ingest"),
    (["--dataset", "train.jsonl", "--rank", "0"], 2, "--rank"),
])
def test_mistakes_are_one_line(run_cli: Run, dataset: Path, args: list[str], code: int,
                               why: str) -> None:
    done = run_cli("finetune", *args)
    assert done.returncode == code
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("phi3kit: ") and why in line
    assert done.stdout == ""
