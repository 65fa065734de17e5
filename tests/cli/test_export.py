from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., object]


@pytest.fixture
def finished(tiny_phi3: Path, project: Path) -> Path:
    """A run of a few steps."""
    from phi3kit.finetune.train import finetune
    from phi3kit.settings import load

    data = project / "facts.jsonl"
    data.write_text('{"prompt": "Who checks the seal?", "completion": "the lock keeper"}\n' * 2)
    return Path(finetune(load({
        "model.name": str(tiny_phi3), "model.device": "cpu", "model.dtype": "float32",
        "finetune.dataset": str(data), "finetune.epochs": 1}).values).run)


def test_a_run_becomes_a_model_and_a_report(run_cli: Cli, finished: Path, project: Path) -> None:
    done = run_cli("export", str(finished), "--to", "merged", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["target"] == "merged"
    assert [s["name"] for s in report["stages"]] == ["as trained", "merged (float32)"]
    assert (project / report["out"] / "model.safetensors").is_file()
    again = run_cli("export", str(finished), "--to", "merged", cwd=project)
    assert again.returncode == 1
    assert "is there already. Remove it" in again.stderr and "Traceback" not in again.stderr


def test_the_report_on_the_terminal(run_cli: Cli, finished: Path, project: Path) -> None:
    done = run_cli("export", str(finished), "--to", "gguf", "--out", "out", "--weights", "f16",
                   cwd=project)
    assert done.returncode == 0, done.stderr
    assert "GGUF (f16)" in done.stdout and "% of the likeliest tokens" in done.stdout
    assert "llama-server -m out/" in done.stdout
    assert "measuring: GGUF" in done.stderr
    # What it prints as the file to serve is there.
    file = done.stdout.partition("llama-server -m ")[2].split()[0]
    assert (project / file).is_file()


def test_dry_run_names_the_runs_model_and_does_nothing(
    run_cli: Cli, finished: Path, project: Path, tiny_phi3: Path,
) -> None:
    done = run_cli("export", str(finished), "--to", "vllm", "--dtype", "float16", "--dry-run",
                   cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{finished}: lora on {tiny_phi3}\n")
    assert 'model.dtype' in done.stdout and '"float16"  (flag)' in done.stdout
    assert "smollm2" not in done.stdout and not (finished / "export").exists()


def test_where_no_folder_can_be_made_is_one_line(
    run_cli: Cli, finished: Path, project: Path,
) -> None:
    for out in ("facts.jsonl/x", "facts.jsonl", "n" * 300):
        done = run_cli("export", str(finished), "--to", "vllm", "--out", out, cwd=project)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1 and "--out" in done.stderr, done.stderr


def test_a_damaged_record_is_one_line(run_cli: Cli, project: Path) -> None:
    (project / "run.json").write_text('{"kind": "finetune", "status": "complete"}')
    done = run_cli("export", ".", "--to", "merged", cwd=project)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "damaged" in done.stderr


def test_a_run_that_stopped_is_told_with_the_command_that_finishes_it(
    run_cli: Cli, tiny_phi3: Path, project: Path, tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The flags of then are in it: --resume takes none from the run."""
    (project / "my facts.jsonl").write_text('{"prompt": "Who?", "completion": "Jo"}\n' * 2)
    (project / "phi3kit.yaml").write_text("finetune: {epochs: 1}\n")
    trained = run_cli("finetune", "--model", str(tiny_phi3), "--dataset", "my facts.jsonl",
                      "--rank", "4", "--no-qlora", "--json", cwd=project)
    run = project / json.loads(trained.stdout)["run"]
    state = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**state, "status": "running"}))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for folder, named in ((project, run.relative_to(project)), (elsewhere, run)):
        done = run_cli("export", str(named), "--to", "merged", cwd=folder)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        command = done.stderr.partition("Finish it: ")[2].strip()
        assert ("cd " in command) == (folder == elsewhere)
        assert "--dataset 'my facts.jsonl' --no-qlora --rank 4" in command
        words = shlex.split(command.partition("phi3kit ")[2])
        assert run_cli(*words, cwd=project).returncode == 0
        (run / "run.json").write_text(json.dumps({**state, "status": "running"}))


def test_weights_without_gguf_are_wrong_usage(
    run_cli: Cli, finished: Path, project: Path,
) -> None:
    for to in ("merged", "vllm"):
        done = run_cli("export", str(finished), "--to", to, "--weights", "f16", cwd=project)
        assert done.returncode == 2 and "--weights" in done.stderr


def test_wrong_usage_and_wrong_folder(run_cli: Cli, project: Path) -> None:
    assert run_cli("export", "gone", "--to", "onnx", cwd=project).returncode == 2
    assert run_cli("export", "gone", cwd=project).returncode == 2
    gone = run_cli("export", "gone", "--to", "merged", cwd=project)
    assert gone.returncode == 1 and gone.stderr.startswith("phi3kit: gone: not a run folder")
