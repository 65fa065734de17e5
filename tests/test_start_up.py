"""Start-up stays light: what the quick commands must not import."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from phi3kit.cli.app import app

# What takes longer to import than a quick command has to start.
SLOW = ("yaml", "importlib.metadata", "rich", "asyncio", "multiprocessing")
HEAVY = ("torch", "transformers", "chromadb", "peft", "sentence_transformers", "numpy", "scipy")
SCENARIO = Path(__file__).resolve().parents[1] / "data" / "scenario.yaml"
PROBE = """
import sys
sys.argv = ["phi3kit", *{args!r}]
from phi3kit.cli.app import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("IMPORTED", [name for name in {names!r} if name in sys.modules])
"""


def imported(args: tuple[str, ...], names: tuple[str, ...], folder: Path) -> str:
    """Which of `names` a command imports, as its last line."""
    done = subprocess.run([sys.executable, "-c", PROBE.format(args=args, names=names)],
                          cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("args", [
    ("--help",),
    ("advise", str(SCENARIO), "--json"),
    ("plan", "--model", "phi-3-mini", "--method", "qlora"),
    ("init",),
    ("ingest", "--help"),
], ids=lambda args: args[0])
def test_imports_nothing_heavy(args: tuple[str, ...], tmp_path: Path) -> None:
    assert imported(args, HEAVY, tmp_path) == "IMPORTED []"


def test_help_imports_what_it_prints(tmp_path: Path) -> None:
    """Neither what reads phi3kit.yaml nor the records that commands hand out."""
    records = tuple(f"phi3kit.records.{name}" for name in ("compare", "dataset", "plan"))
    assert imported(("--help",), SLOW + records, tmp_path) == "IMPORTED []"


def test_a_command_builds_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    built, real = [], typer.main.get_command
    commands = real(app).commands  # type: ignore[attr-defined]

    def count(one: typer.Typer) -> Any:
        built.append(one)
        return real(one)

    monkeypatch.setattr(typer.main, "get_command", count)
    assert commands.get("ingest").name == "ingest"
    assert commands["dataset"].commands["check"].name == "check"
    assert commands["ingest"] is commands["ingest"]
    assert len(built) == 2
    assert {name: command.name for name, command in commands.items()
            if name != "dataset"} == {name: name for name in commands if name != "dataset"}
    assert len(built) == len(commands) == 14


def test_a_command_ends_without_looking_for_cycles(tmp_path: Path) -> None:
    """Callbacks of the end run last in, first out: one that is there before runs after."""
    told = "import atexit, gc; atexit.register(lambda: print('FROZEN', gc.get_freeze_count()))\n"
    done = subprocess.run([sys.executable, "-c", told + PROBE.format(args=("init",), names=())],
                          cwd=tmp_path, capture_output=True, text=True)
    *_, last = done.stdout.splitlines()
    assert last.startswith("FROZEN ") and int(last.split()[1]) > 1000, done.stderr


def test_what_no_command_is_called_is_likened_to_one(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "phi3kit", "igest"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 2
    assert "Did you mean 'ingest'?" in done.stderr


def test_what_the_encoding_does_not_have_costs_itself_alone(monkeypatch):
    from phi3kit.cli import app
    from phi3kit.cli.choices import as_text

    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8"))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    monkeypatch.setattr(app, "app", lambda: print(sys.stdin.readline(), end="", flush=True))
    app.main()
    assert out.getvalue() == b"caf\\ufffd"
    assert as_text("caf\udce9 \u00e9") == "caf? \u00e9"
