"""`phi3kit report RUN1 RUN2`: finished runs side by side, from their folders alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from finished_comparison import finished

BASE = [0.1, 0.2, 0.3, 0.2, 0.1, 0.2, 0.3, 0.2]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    first = finished(tmp_path, {"base": BASE, "rag": [0.5] * 8})
    other = finished(tmp_path, {"base": BASE, "rag": [0.7] * 8}, adapter="runs/finetune-2")
    return first.run, other.run


def test_shows_what_changed_and_where_it_is_written(run_cli: Callable,
                                                    runs: tuple[str, str]) -> None:
    done = run_cli("report", *runs)
    assert done.returncode == 0, done.stderr
    assert "rag gains 0.20" in " ".join(done.stdout.split())
    assert "runs/finetune-2" in done.stdout
    assert f"Report: {Path(runs[0]) / 'side-by-side.html'}" in done.stdout
    assert sorted(path.name for path in Path(runs[0]).glob("side-by-side.*")) == [
        "side-by-side.html", "side-by-side.md"]
    assert not list(Path(runs[1]).glob("side-by-side.*"))


def test_json_alone_is_on_stdout_and_the_same_each_time(run_cli: Callable, tmp_path: Path,
                                                        runs: tuple[str, str]) -> None:
    done = run_cli("report", *runs, "--json", "--html", "pages/both.html")
    record = json.loads(done.stdout)
    assert [run["label"] for run in record["runs"]] == ["A", "B"]
    assert record["differences"][1]["difference"]["mean"] == pytest.approx(0.2)
    assert {(item["group"], item["name"]) for item in record["differing"]} == {
        ("setting", "ask.adapter"), ("input", "scores")}
    assert (tmp_path / "pages" / "both.html").is_file()
    assert not (Path(runs[0]) / "side-by-side.html").exists()
    assert run_cli("report", *runs, "--json").stdout == done.stdout


def test_loads_no_model(runs: tuple[str, str]) -> None:
    script = ("import sys\n"
              "from pathlib import Path\n"
              "from phi3kit.cli.report import report\n"
              f"report([Path(run) for run in {runs!r}], None, False)\n"
              "print('loaded:', *sys.modules)\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    shown, _, loaded = done.stdout.partition("loaded:")
    assert "side by side" in shown
    assert not {"torch", "transformers", "chromadb", "sentence_transformers"} & set(loaded.split())


def test_mistakes_are_one_line(run_cli: Callable, runs: tuple[str, str]) -> None:
    for given, says in (((runs[0], runs[0]), "given twice"),
                        ((runs[0], "nowhere"), "not a run folder")):
        done = run_cli("report", *given)
        assert done.returncode == 1
        assert says in done.stderr and done.stderr.count("\n") == 1
    assert run_cli("report").returncode == 2


def test_a_page_that_cannot_be_written_is_one_line(run_cli: Callable,
                                                   runs: tuple[str, str], tmp_path: Path) -> None:
    done = run_cli("report", *runs, "--html", str(tmp_path))
    assert done.returncode == 1
    assert "cannot be written (Is a directory)" in done.stderr
    assert done.stderr.count("\n") == 1
