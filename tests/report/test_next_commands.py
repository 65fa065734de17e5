"""The commands that are told next can be copied, whatever the folders are called."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from phi3kit.export.run import _command
from phi3kit.records import RaftReport, TrainReport
from phi3kit.report.terminal_dataset import print_raft
from phi3kit.report.terminal_train import train_lines

RUN = "my runs/finetune-1 (kept)"


def trained(method: Literal["lora", "full"]) -> list[str]:
    report = TrainReport(
        run=RUN, base="m", base_fingerprint="", method=method, format="", examples=1, skipped=(),
        epochs=1, steps=1, tokens=1, trained_tokens=1, losses=(1.0,), final_loss=1.0,
        trainable_parameters=1, target_modules=(), seconds=1.0, peak_memory_bytes=1)
    return train_lines(report)


def test_of_a_run() -> None:
    *_, ask, compare = trained("lora")
    assert shlex.split(ask) == ["phi3kit", "ask", "--adapter", RUN, "…"]
    assert shlex.split(compare) == ["phi3kit", "compare", "--adapter", RUN]
    assert shlex.split(trained("full")[-1]) == ["phi3kit", "ask", "--model", f"{RUN}/model", "…"]


def test_of_an_export() -> None:
    source: Any = SimpleNamespace(run=Path(RUN))
    name = Path(RUN).name
    assert shlex.split(_command(source, "gguf", Path("out x"), None)) == [
        "llama-server", "-m", f"out x/{name}.gguf"]
    assert shlex.split(_command(source, "ollama", Path("out x"), None))[4:] == [
        "create", name, "-f", "Modelfile"]


def test_of_examples_with_passages(capsys: pytest.CaptureFixture[str]) -> None:
    print_raft(RaftReport(file="my examples.jsonl", examples=1, abstaining=0, added=0))
    *_, check, finetune = capsys.readouterr().out.splitlines()
    assert "my examples.jsonl" in shlex.split(check)
    assert "my examples.jsonl" in shlex.split(finetune)
