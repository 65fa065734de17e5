"""What a log without a terminal is told while a long step runs."""

from __future__ import annotations

import pytest

from phi3kit import progress


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    clock = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock)
    with progress.bar("training", 800) as advance:
        for step in range(800):
            clock += 2.0
            advance(1, f"loss {step}")
    lines = capsys.readouterr().err.splitlines()
    # 80 steps are a tenth and take 160 s: the later of the two is due.
    assert lines[0] == "training (800) …" and lines[-1].startswith("training: 800 in 1600.0 s")
    assert lines[1] == "training: 80 of 800 (10%) in 160 s (loss 79)"
    assert len(lines) == 2 + 10


def test_what_is_not_worth_a_line_gets_none(monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    clock = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock)
    for seconds, told in ((0.1, []), (1.0, ["reading (3) …", "reading: 3 in 3.0 s"])):
        with progress.bar("reading", 3, patience=2.0) as advance:
            for _ in range(3):
                clock += seconds
                advance(1)
        assert capsys.readouterr().err.splitlines() == told


def test_quick_steps_and_unknown_ends(monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    clock = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock)
    with progress.bar("quick", 100) as advance:
        for _ in range(100):
            clock += 0.5
            advance(1)
    assert len(capsys.readouterr().err.splitlines()) == 2
    with progress.bar("reading", None) as advance:
        for _ in range(130):
            clock += 1.0
            advance(1)
    assert capsys.readouterr().err.splitlines()[1:3] == ["reading: 60 in 60 s",
                                                         "reading: 120 in 120 s"]
