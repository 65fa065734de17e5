"""The README describes the house that stands: every command, every room, no room too many."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import typer

from phi3kit.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
HOUSE = ROOT / "src" / "phi3kit"


def test_the_first_two_commands_are_the_scripts() -> None:
    blocks = "\n".join(re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
    commands = re.findall(r"^(scripts/\w+|phi3kit \w+)", blocks, flags=re.MULTILINE)
    assert commands[:2] == ["scripts/demo", "scripts/test"]


def test_every_command_is_described() -> None:
    group = typer.main.get_command(app)
    names = list(group.commands)  # type: ignore[attr-defined]
    assert [name for name in names if f"phi3kit {name}" not in README] == []


def test_the_tree_has_every_room_and_no_other() -> None:
    tree = README.partition("src/phi3kit/\n")[2].partition("```")[0]
    named = set(re.findall(r"^ {2,6}(\w+(?:/|\.py))\s", tree, flags=re.MULTILINE))
    rooms = {f"{p.name}/" for p in HOUSE.iterdir()
             if p.is_dir() and (p / "__init__.py").is_file()}
    files = {p.name for p in HOUSE.glob("*.py") if not p.name.startswith("__")}
    assert named == rooms | files


def test_every_path_that_is_linked_exists() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_worked_decision_is_what_was_measured() -> None:
    measured = (ROOT / "docs" / "measured" / "demo.txt").read_text(encoding="utf-8")
    lines = {line.rstrip() for line in measured.splitlines()}
    shown = README.partition("abridged:\n\n```\n")[2].partition("\n```")[0].splitlines()
    assert len(shown) > 30
    assert [line for line in shown if line not in lines] == []
    seconds = json.loads((ROOT / "docs" / "measured" / "demo.json").read_text())["seconds"]
    assert f"It took {seconds:.0f} s" in README


def test_the_measured_figures_are_those_of_the_files() -> None:
    done = subprocess.run([sys.executable, "scripts/readme-figures"], cwd=ROOT, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
