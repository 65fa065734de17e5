"""`phi3kit doctor` as a process, and its checks when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from phi3kit.plan import checks


@pytest.mark.model
def test_doctor_does_a_real_round_trip(run_cli: Any) -> None:
    done = run_cli("doctor", "--json")
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert found["4-bit NF4"]["ok"] is True
    assert "0.07" in found["4-bit NF4"]["found"]
    assert found["packaged model"]["ok"] is True
    assert found["model hub"]["ok"] is None  # the tests run with HF_HUB_OFFLINE
    assert done.stderr == ""


def test_a_check_that_crashes_is_a_failed_check() -> None:
    def crash() -> Any:
        raise ZeroDivisionError("what now")

    check = checks.guarded("division", crash)
    assert check.ok is False
    assert "ZeroDivisionError: what now" in check.found
    assert check.mend


def test_a_broken_project_file_is_found(project: Path) -> None:
    (project / "phi3kit.yaml").write_text("modle: 1\n")
    check = checks.guarded("settings", checks._settings)
    assert check.ok is False
    assert "modle" in check.found


@pytest.mark.parametrize(("bound", "value"), [("_NF4_MOST_ERROR", 0.06),
                                             ("_NF4_LEAST_ERROR", 0.08)])
def test_a_round_trip_that_is_off_fails(bound: str, value: float,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, bound, value)
    check = checks._nf4()
    assert check.ok is False
    assert "LoRA" in check.mend


def test_a_hub_that_cannot_be_reached_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    check = checks._hub()
    assert check.ok is None
    assert "127.0.0.1:9" in check.found


def test_without_bitsandbytes_lora_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    check = checks._nf4()
    assert check.ok is None
    assert "LoRA works" in check.found


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    probe = (
        "import sys; sys.argv = ['phi3kit', 'doctor', '--help']\n"
        "from phi3kit.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print([n for n in ('torch', 'transformers', 'chromadb') if n in sys.modules])")
    done = subprocess.run([sys.executable, "-c", probe], cwd=tmp_path, capture_output=True,
                          text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
