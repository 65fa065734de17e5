from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import pytest
import typer

from phi3kit.cli.app import app
from phi3kit.models.hardware import has_gpu
from phi3kit.settings.names import flatten
from phi3kit.settings.schema import Settings

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
    # The default is another base, which this adapter does not fit.
    assert done.stdout.count(f" --model {tiny_phi3}") == 2
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
    assert "null  (default: 1,024 tokens; a CPU gains little from more)" in (
        lines["finetune.micro_batch_tokens"]) or has_gpu()
    assert not (tmp_path / "runs").exists()


def test_dry_run_looks_at_the_model_without_its_weights(
    run_cli: Run, tiny_phi3: Path, tmp_path: Path,
) -> None:
    base = shutil.copytree(tiny_phi3, tmp_path / "base")
    (base / "model.safetensors").unlink()
    args = ("finetune", "--dry-run", "--model", "./base", "--max-tokens", "512", "--device", "cpu")
    shown = run_cli(*args)
    assert shown.returncode == 0, shown.stderr
    tail = shown.stdout.partition("./base: before it trains\n")[2].splitlines()
    assert [line.split()[0] for line in tail] == ["template", "adapter", "context"]
    assert "answers end with <|endoftext|> or <|end|>, padding is <|endoftext|>" in tail[0]
    assert tail[1].split(" on ")[1] == "down_proj, gate_up_proj, o_proj, qkv_proj"
    found = json.loads(run_cli(*args, "--json").stdout)
    assert found["settings"]["finetune.max_tokens"] == {"value": 512, "source": "flag"}
    assert found["forward_pass"]["tokens"] == 1024
    assert found["preflight"]["modules"] == tail[1].split(" on ")[1].split(", ")
    assert found["preflight"]["problems"] == []
    template = base / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|end|>", "<|eot|>"))
    wrong = run_cli(*args)
    assert wrong.returncode == 1 and "  problem   " in wrong.stdout and "<|eot|>" in wrong.stdout
    assert json.loads(run_cli(*args, "--json").stdout)["preflight"]["problems"]


@pytest.mark.parametrize(("flags", "said"), [
    (("--dataset", "gone.jsonl"), "gone.jsonl: no such file"),
    (("--dataset", "broken.jsonl"), "broken.jsonl:1"),
    (("--dataset", "train.jsonl", "--strict"), "1 examples would be left out"),
    (("--dataset", "again.jsonl", "--strict"), "of the examples 2 have the prompt of another"),
    (("--dataset", "train.jsonl", "--resume", "runs/none"), "runs/none: not a run folder"),
    (("--dataset", "train.jsonl", "--passages", "0.5"), "there is no store. Run phi3kit ingest"),
    (("--dataset", "train.jsonl"), ""), (("--dataset", "again.jsonl"), "")])
def test_dry_run_tells_what_a_training_would_stop_at(
    run_cli: Run, tiny_phi3: Path, dataset: Path, tmp_path: Path, flags: tuple[str, ...], said: str,
) -> None:
    (tmp_path / "broken.jsonl").write_text("{\n")
    (tmp_path / "again.jsonl").write_text("".join(
        json.dumps({"prompt": "Who?", "completion": name}) + "\n" for name in ("Jo", "Al")))
    done = run_cli("finetune", "--dry-run", "--model", str(tiny_phi3), "--device", "cpu", *flags)
    assert done.returncode == int(bool(said)), done.stderr
    problems = [line for line in done.stdout.splitlines() if line.startswith("  problem ")]
    assert len(problems) == bool(said) and all(said in line for line in problems)


def test_dry_run_says_that_a_dataset_is_missing(run_cli: Run) -> None:
    assert "null  (default: training needs one)" in run_cli("finetune", "--dry-run").stdout


def test_dry_run_holds_what_is_given_against_the_run_to_go_on_with(
    run_cli: Run, tiny_phi3: Path, dataset: Path,
) -> None:
    args = ("finetune", "--dataset", "train.jsonl", "--model", str(tiny_phi3), "--epochs", "1")
    run = json.loads(run_cli(*args, "--json").stdout)["run"]
    assert run_cli(*args, "--resume", run, "--dry-run").returncode == 0
    for flags, said in ((("--seed", "3"), "finetune.seed was 0 and is 3"),
                        (("--model", "smollm2-135m"), "the base has another content")):
        done = run_cli(*args, *flags, "--resume", run, "--dry-run")
        assert done.returncode == 1 and said in done.stdout


@pytest.mark.skipif(has_gpu(), reason="here it is there")
def test_dry_run_tells_of_a_device_that_is_not_there(run_cli: Run, tiny_phi3: Path) -> None:
    done = run_cli("finetune", "--dry-run", "--model", str(tiny_phi3), "--device", "cuda")
    assert done.returncode == 1 and "no cuda device here" in done.stdout
    assert "finetune.seed" in done.stdout


def test_dry_run_asks_no_hub(run_cli: Run, tmp_path: Path) -> None:
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        done = run_cli("finetune", "--dry-run", "--model", "phi-3-mini", "--device", "cpu", env={
            "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "0",
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"})
        server.shutdown()
    assert done.returncode == 0 and asked == []
    assert done.stdout.splitlines()[-1] == (
        "  later     phi-3-mini is not on this machine: its template, special tokens, layers and "
        "context are looked at when training starts")


def test_every_setting_of_a_run_has_a_flag() -> None:
    command = typer.main.get_command(app).commands["finetune"]  # type: ignore[attr-defined]
    flags = {name.removeprefix("--") for option in command.params for name in option.opts}
    keys = flatten(msgspec.to_builtins(Settings()))
    own = [key.partition(".")[2] for key in keys if key.startswith("finetune.")]
    assert len(own) > 15
    assert [name for name in own if name.replace("_", "-") not in flags] == []


def test_flags_are_told_as_such(run_cli: Run) -> None:
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


@pytest.mark.parametrize("fresh", [False, True])
def test_what_goes_on_after_ctrl_c_is_not_begun_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fresh: bool,
) -> None:
    from phi3kit.cli import app

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "app", interrupted)
    monkeypatch.setattr(app.atexit, "register", lambda work: None)
    monkeypatch.setattr(app.sys, "argv", ["phi3kit", "finetune", *["--fresh"] * fresh])
    with pytest.raises(SystemExit):
        app.main()
    again = "the same command without --fresh" if fresh else "the same command"
    assert f"stopped; {again} goes on from here" in capsys.readouterr().err
