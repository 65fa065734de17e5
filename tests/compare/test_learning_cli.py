"""`phi3kit compare --learning-curve` as a user gives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


def test_sizes_are_shown_with_their_source(run_cli: Callable) -> None:
    done = run_cli("compare", "--learning-curve", "25, 50,100", "--dry-run")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines()
               if line.startswith("compare.learning_curve"))
    assert "[25, 50, 100]  (flag)" in line


@pytest.mark.parametrize(("sizes", "says"), [
    ("25,many", "--learning-curve: 'many' is no number of examples. Write it as 25,50,100"),
    ("0", "'compare.learning_curve'"), ("-5", "'-5' is no number"), ("20", "no arm is tuned"),
])
def test_mistakes_are_one_line(run_cli: Callable, tmp_path: Path, sizes: str, says: str) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps(
        {"id": "q", "question": "Who?", "answers": ["Ann"], "source_ids": ["a.md"]}))
    done = run_cli("compare", "--questions", "q.jsonl", "--arms", "base,rag",
                   "--learning-curve", sizes)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
