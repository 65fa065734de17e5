"""Hundreds of hostile files through the command itself, and a few good ones among them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import hostile
import hostile_parts as parts
import psutil
import pytest

from phi3kit.ingest.walk import walk

GOOD = {"good/keys.md": b"# Keys\n\nThe red key opens the pump house.\n",
        "good/parts.csv": b"part,torque\nM8,25 Nm\n", "good/winch.docx": parts.docx(),
        "good/gate.pdf": parts.pdf(), "good/slides.pptx": parts.pptx(),
        "good/parts.xlsx": parts.xlsx(), "good/tides.epub": parts.epub(),
        "good/pump.eml": parts.mail()}


class Watch(threading.Thread):
    """The most memory that a process or any of its children held, in MiB."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.root, self.peaks = psutil.Process(pid), {}

    def run(self):
        while self.root.is_running() and self.root.status() != psutil.STATUS_ZOMBIE:
            for process in [self.root, *self.root.children(recursive=True)]:
                try:
                    found = re.search(r"VmHWM:\s+(\d+)",
                                      Path(f"/proc/{process.pid}/status").read_text())
                except (OSError, psutil.Error):
                    continue
                if found:
                    self.peaks[process.pid] = int(found[1]) / 1024
            time.sleep(0.02)


def ingest(folder):
    """(report, exit code, stderr, peak in MiB of each process)"""
    with subprocess.Popen(
            [sys.executable, "-m", "phi3kit", "ingest", "docs", "--json"], cwd=folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env={**os.environ, "NO_COLOR": "1"}) as process:
        watch = Watch(process.pid)
        watch.start()
        out, errors = process.communicate(timeout=900)
    return json.loads(out), process.returncode, errors, watch.peaks


def made(folder, cases):
    for case in cases:
        case.write(folder / "docs")
    for name, data in GOOD.items():
        path = folder / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def shown(name):
    return f"docs/{''.join(c if c.isprintable() else repr(c)[1:-1] for c in name)}"


def wrong_of(cases, report):
    """What became of each case other than it says."""
    lines = {}
    for failure in report["failed"]:
        lines.setdefault(failure["where"], []).append(failure["why"])
    for case in cases:
        told = lines.pop(shown(case.name), [])
        if case.why is None:
            if told or f"docs/{case.name}" not in report["added"]:
                yield case.name, told
        elif len(told) != 1 or not re.search(case.why, told[0]) or "\n" in told[0]:
            yield case.name, told
    yield from lines.items()


def check(folder, cases):
    made(folder, cases)
    report, code, errors, peaks = ingest(folder)
    assert list(wrong_of(cases, report)) == []
    assert {f"docs/{name}" for name in GOOD} <= set(report["added"])
    assert code == 1
    assert "Traceback" not in errors
    assert len(peaks) > 1
    assert max(peaks.values()) < 1024, peaks


@pytest.mark.model
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and measured on Linux")
def test_hostile_files_are_told_of_and_harm_nothing(tmp_path):
    cases = hostile.cases()
    assert sum(case.why is not None for case in cases) >= 150
    check(tmp_path, cases)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and measured on Linux")
def test_the_heaviest_too(tmp_path):
    check(tmp_path, [case for case in hostile.cases(heavy=True) if case.heavy])


def test_names_and_reasons_differ():
    names = [case.name for case in hostile.cases(heavy=True)]
    assert len(names) == len(set(names))


def test_blanks_of_other_kinds_may_stand_in_names(tmp_path, monkeypatch):
    """As in the names that macOS gives to screenshots, and in Japanese ones."""
    monkeypatch.chdir(tmp_path)
    names = {"a\u202fb.txt", "a\u00a0b.txt", "a\u3000b.txt"}
    for name in names:
        (tmp_path / name).write_text("words")
    found = walk(["."], tmp_path / "store")
    assert (set(found.files), found.failed) == (names, [])
