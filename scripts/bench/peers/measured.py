"""Whole processes: their time, their peak memory and the JSON that they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PERIOD = 0.1  # seconds between two looks at the memory


@dataclass(frozen=True, slots=True)
class Process:
    """A process that ended well.

    Attributes:
        seconds: wall clock, start-up included.
        printed: the JSON at the end of its stdout, if any.
        peak: bytes of the process and its children together, pages that they share counted
            once (PSS), looked at every 0.1 s; 0 where it was not asked for.
        said: the last line of its stderr.
        code: its exit code.
    """

    seconds: float
    printed: Any
    peak: int
    said: str = ""
    code: int = 0


def run(command: Sequence[str], cwd: Path, env: Mapping[str, str], *,
        memory: bool = False, good: Sequence[int] = (0,)) -> Process:
    """Run it to its end; one that fails ends the bench with the last line of its stderr.

    Args:
        command: with its arguments.
        cwd: where it runs.
        env: beside what is set already.
        memory: whether to look at it.
        good: exit codes that are no failure.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **env}, stdout=out,
                                   stderr=err)
        peak = _peak(process) if memory else 0
        code = process.wait()
        seconds = time.perf_counter() - started
        out.seek(0), err.seek(0)
        last = (err.read().strip().splitlines() or ["no word on stderr"])[-1]
        if code not in good:
            sys.exit(f"{' '.join(command[:3])}: exit code {code}: {last}")
        return Process(seconds, _json(out.read()), peak, last, code)


def _peak(process: subprocess.Popen[bytes]) -> int:
    """Watch until it ends."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(_pss(pid) for pid in _tree(process.pid)))
        time.sleep(_PERIOD)
    return peak


def _tree(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").glob("*/children"))
        below = [int(child) for task in tasks for child in task.read_text().split()]
    except OSError:
        return []  # it ended meanwhile
    return [pid, *(one for child in below for one in _tree(child))]


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # it ended meanwhile
    return 0


def _json(text: str) -> Any:
    """The last line, or all of it."""
    for part in (text.strip().rpartition("\n")[2], text):
        try:
            return json.loads(part)
        except ValueError:
            continue
    return None


def rounded(value: Any) -> Any:
    """JSON values with five digits of each float."""
    if isinstance(value, dict):
        return {key: rounded(held) for key, held in value.items()}
    if isinstance(value, list):
        return [rounded(held) for held in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
