"""metrics.jsonl: a line for each optimizer step of a run, resumed parts included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phi3kit.files import write_atomic

METRICS = "metrics.jsonl"


def read(run: Path, *, through: int | None = None) -> list[dict[str, Any]]:
    """The lines of a run's metrics, those of later steps than `through` left out."""
    try:
        lines = (run / METRICS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            break  # the line that a crash cut off
    return [m for m in found if through is None or m["step"] <= through]


def cut(run: Path, *, through: int) -> None:
    """Drop the lines of later steps than `through`: these steps are done again."""
    lines = read(run, through=through)
    write_atomic(run / METRICS, "".join(f"{json.dumps(m)}\n" for m in lines))


def append(run: Path, line: dict[str, Any]) -> None:
    """Add the line of one step, at once."""
    with (run / METRICS).open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")
