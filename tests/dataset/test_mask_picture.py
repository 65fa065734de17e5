"""The picture of the mask on a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from phi3kit.records import Cut, DatasetCheck, Lengths, MaskPicture, Preflight, Span
from phi3kit.report.preflight_text import print_preflight
from phi3kit.report.terminal_dataset import check_lines, print_check

CHECK = DatasetCheck(
    source="t.jsonl", format="messages", examples=1, skipped=(), lengths=None, repeats=(),
    conflicts=(), questions=0, leaks=(), labels=(), masks=(MaskPicture(
        line=1, tokens=9, trained=2, cut=False,
        spans=(Span("<|user|>Who?\x1b[2J", False), Span("me<|end|>", True))),),
    preflight=Preflight(model="m\x1b[2J", marks=("<|\x1b[2J|>",), ends=("e",), modules=("o_proj",),
                        notes=("\x1b[2J",), unseen=("\x1b[2J",), problems=("\x1b[2J",)))


def test_what_is_cut_is_listed_with_the_answers_that_go_with_it() -> None:
    sizes = Lengths(least=9, median=20.0, p95=30.0, most=90, limit=64, trained=0.25, cut=2,
                    lost=40, model="m", lost_answers=3, losing_answers=1)
    said = check_lines(replace(CHECK, lengths=sizes, cuts=(Cut(4, 90, 30, 3), Cut(7, 74, 10, 0))))
    assert any(line.endswith("lose 40 tokens of their prompts, 1 of them 3 answers to train on too")
               for line in said)
    at = said.index("Cut: 2")
    assert said[at + 1:at + 3] == ["  t.jsonl:4 loses 30 of 90 tokens and 3 answers to train on",
                                   "  t.jsonl:7 loses 10 of 74 tokens"]


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
