"""The picture of the mask on a terminal."""

from __future__ import annotations

import pytest

from phi3kit.records import DatasetCheck, MaskPicture, Preflight, Span
from phi3kit.report.preflight_text import print_preflight
from phi3kit.report.terminal_dataset import print_check

CHECK = DatasetCheck(
    source="t.jsonl", format="messages", examples=1, skipped=(), lengths=None, repeats=(),
    conflicts=(), questions=0, leaks=(), labels=(), masks=(MaskPicture(
        line=1, tokens=9, trained=2, cut=False,
        spans=(Span("<|user|>Who?\x1b[2J", False), Span("me<|end|>", True))),),
    preflight=Preflight(model="m\x1b[2J", marks=("<|\x1b[2J|>",), ends=("e",), modules=("o_proj",),
                        notes=("\x1b[2J",), unseen=("\x1b[2J",), problems=("\x1b[2J",)))


@pytest.mark.parametrize(("no_color", "marked"), [("", False), ("1", True)])
def test_what_is_trained_is_told_by_colour_or_by_brackets(
        no_color: str, marked: bool, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    print_check(CHECK)
    shown = capsys.readouterr().out
    assert ("⟦me<|end|>⟧" in shown) is marked and ("(coloured)" in shown) is not marked
    assert ("\x1b[1;32m" in shown) is not marked  # green
    assert "\x1b[2J" not in shown  # an example clears no screen, and no model does
    assert CHECK.preflight is not None
    print_preflight(CHECK.preflight)
    ahead = capsys.readouterr().out
    assert "\x1b" not in ahead and "adapter   on o_proj" in ahead and "adapter   on o_proj" in shown
