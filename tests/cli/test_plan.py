"""`phi3kit plan` as a process."""

from __future__ import annotations

import json
from typing import Any


def test_json_of_one_method(run_cli: Any) -> None:
    done = run_cli("plan", "--model", "phi-3-mini", "--method", "qlora", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["total"] == sum(plan["parts"].values())
    assert set(plan["gpus"]) == {"24", "40", "48", "80", "141"}


def test_all_methods_in_a_table(run_cli: Any) -> None:
    done = run_cli("plan", "--model", "70B")
    assert done.returncode == 0, done.stderr
    for word in ("full", "lora", "qlora", "activations", "of 80 GB"):
        assert word in done.stdout


def test_what_does_not_fit_exits_with_3_and_says_what_would(run_cli: Any) -> None:
    done = run_cli("plan", "--model", "phi-3-mini", "--method", "lora", "--gpu-memory", "8")
    assert done.returncode == 3
    assert "--method qlora --checkpointing takes" in done.stdout


def test_the_model_comes_from_the_project_file(run_cli: Any, tmp_path: Any) -> None:
    (tmp_path / "phi3kit.yaml").write_text("model:\n  name: phi-4\n")
    assert run_cli("plan", "--method", "lora").stdout.startswith("phi-4: 14.66 B")


def test_checkpointing_comes_from_the_project_file_and_the_flag_goes_before_it(
    run_cli: Any, tmp_path: Any,
) -> None:
    (tmp_path / "phi3kit.yaml").write_text("finetune:\n  checkpointing: true\n")
    args = ("plan", "--model", "phi-3-mini", "--method", "lora")
    assert "Assumed: gradient checkpointing" in run_cli(*args).stdout
    assert "Assumed: activations kept" in run_cli(*args, "--no-checkpointing").stdout


def test_an_unknown_model_is_one_line(run_cli: Any) -> None:
    done = run_cli("plan", "--model", "no-such")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "such as 7B" in done.stderr


def test_keeping_activations_takes_more(run_cli: Any) -> None:
    args = ("plan", "--model", "phi-3-mini", "--method", "qlora", "--json")
    less, more = (json.loads(run_cli(*args, flag).stdout)["parts"]["activations"]
                  for flag in ("--checkpointing", "--no-checkpointing"))
    assert more > 3 * less
