"""Weights and gates on the command line: what is refused, what is printed, the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finished_comparison import finished

BASE = [0.3 + 0.3 * (i % 3) for i in range(24)]
SCORES: Any = {"base": BASE, "rag": [x + (0.3 if i % 2 else 0.1) for i, x in enumerate(BASE)]}


@pytest.mark.parametrize(("arguments", "says"), [
    (("--weights", "speed=2"), "--weights: 'speed' is no criterion"),
    (("--weights", "quality=0"), "--weights: nothing has a weight"),
    (("--gate", "rag is best"), "Write it as"),
    (("--gate", "rag score > 0", "--gate", "both score > 0"), "both does not run"),
])
def test_mistakes_are_one_line(run_cli: Callable, tmp_path: Path, arguments: tuple[str, ...],
                               says: str) -> None:
    done = run_cli("compare", "--questions", "none.jsonl", "--arms", "base,rag", *arguments)
    assert done.returncode == 2  # 1 is a gate that failed
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_criterion_in_the_file_is_named(run_cli: Callable, tmp_path: Path) -> None:
    (tmp_path / "phi3kit.yaml").write_text("compare:\n  weights: {speed: 1}\n", encoding="utf-8")
    done = run_cli("compare")
    assert done.returncode == 2
    assert "phi3kit.yaml:2: 'compare.weights': there is no 'speed'. Take one of" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_dry_run_shows_them_with_their_source(run_cli: Callable, tmp_path: Path) -> None:
    (tmp_path / "phi3kit.yaml").write_text(
        "compare:\n  weights:\n    quality: 2\n    latency: 1\n", encoding="utf-8")
    done = run_cli("compare", "--gate", "rag score > 0", "--gate", "rag score > base",
                   "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert '{"quality": 2.0, "latency": 1.0}  (file phi3kit.yaml)' in lines["compare.weights"]
    assert '["rag score > 0", "rag score > base"]  (flag)' in lines["compare.gate"]
    done = run_cli("compare", "--weights", "cost=3", "--dry-run")
    assert '{"cost": 3.0}  (flag)' in done.stdout


@pytest.mark.parametrize(("compare", "code", "title"), [
    ({}, 0, "decided"),
    ({"weights": {"quality": 1.0, "latency": 4.0}}, 0, "decided"),
    ({"gate": ("rag score >= base + 0.1",)}, 0, "decided"),
    ({"gate": ("rag score >= base + 0.2",)}, 3, "decided"),
    ({"gate": ("rag score >= base + 0.3",)}, 1, "decided"),
])
def test_the_exit_code_of_a_report(run_cli: Callable, tmp_path: Path, compare: dict[str, Any],
                                   code: int, title: str) -> None:
    found = finished(tmp_path / "runs", SCORES, seconds={"base": 1.0, "rag": 3.0},
                     compare=compare)
    assert found.verdict.winner == "rag"
    done = run_cli("report", found.run)
    assert done.returncode == code, done.stderr
    assert title in done.stdout.splitlines()[0]
    assert ("the choice is base" in done.stdout) == ("weights" in compare)
    assert ("Do the gates hold?" in done.stdout) == ("gate" in compare)
    assert ("On quality alone: rag wins" in done.stdout) == ("weights" in compare)
    for name in ("report.html", "report.md"):
        text = (Path(found.run) / name).read_text(encoding="utf-8")
        assert ("What do the weights say?" in text) == ("weights" in compare)
        assert ("Do the gates hold?" in text) == ("gate" in compare)


def test_the_choice_is_in_the_json(run_cli: Callable, tmp_path: Path) -> None:
    found = finished(tmp_path / "runs", SCORES, seconds={"base": 1.0, "rag": 3.0}, compare={
        "weights": {"quality": 1.0, "latency": 4.0}, "gate": ("rag score > base",)})
    done = run_cli("report", found.run, "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["choice"]["chosen"] == "base"
    assert printed["verdict"]["winner"] == "rag"
    assert printed["gates"][0]["outcome"] == "passed"
    by_name = {switch["criterion"]: switch for switch in printed["choice"]["switches"]}
    # 0.6 (1 - s) + s = 0.8 (1 - s) + s / 3 at s = 0.2 / (0.2 + 2 / 3).
    assert by_name["latency"]["at"] == pytest.approx(0.2 / (0.2 + 2 / 3))
    assert by_name["latency"]["then"] == "rag"
