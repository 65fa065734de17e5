"""The tables of evaluate-retrieval."""

from __future__ import annotations

import pytest

from phi3kit.records import (
    CalibrationReport,
    Interval,
    RetrievalMode,
    RetrievalReport,
    ThresholdEffect,
    ThresholdPoint,
)
from phi3kit.report.terminal_retrieval import print_calibration, print_retrieval

HALF = Interval(0.5, 0.4, 0.6)
EFFECT = ThresholdEffect(HALF, HALF, HALF)


@pytest.mark.parametrize(("level", "shown"), [
    (0.95, "95% intervals"), (0.995, "99.5% intervals"), (0.999, "99.9% intervals")])
def test_a_level_is_shown_as_it_was_set(level: float, shown: str,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    print_retrieval(RetrievalReport("docs", "f", 4, 0, 2, level, "passages",
                                    (RetrievalMode("dense", {"MRR@10": HALF}),), ()))
    assert shown in " ".join(capsys.readouterr().out.split())
    print_calibration(CalibrationReport(
        "docs", "f", 4, 4, 2, 2, level, 0.1, (ThresholdPoint(0.3, 0.5, 0.1),), 0.3, 0.3, EFFECT,
        EFFECT, HALF, 0.5, "no difference shown"))
    assert shown in " ".join(capsys.readouterr().out.split())
