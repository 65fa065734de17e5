"""Runs side by side: the same figures on the terminal, in Markdown and on the page."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import dump, title
from xss_payloads import payloads

from phi3kit.compare.side_by_side import side_by_side
from phi3kit.records import Comparison, Row, SideBySide
from phi3kit.report import side_by_side_text as texts
from phi3kit.report.html_side_by_side import render_side_by_side, write_side_by_side
from phi3kit.report.markdown_side_by_side import side_by_side_markdown
from phi3kit.report.terminal_side_by_side import print_side_by_side


def later(made: Comparison, hostile: str = "") -> Comparison:
    """Another run: tuned answers to facts are right, those that retrieve miss labels."""
    def score(row: Row) -> Row:
        if row.arm == "finetune" and row.kind.startswith("fact"):
            return dataclasses.replace(row, metrics={**row.metrics, "score": 1.0},
                                       output=f"now it knows{hostile}")
        if row.arm == "rag" and row.kind.startswith("label"):
            return dataclasses.replace(row, metrics={**row.metrics, "score": 0.0},
                                       output=f"lost the thread{hostile}")
        return row

    return dataclasses.replace(made, run=f"{made.run}-later", rows=tuple(map(score, made.rows)))


def states(hostile: str = "") -> list[dict[str, dict[str, object]]]:
    return [{"settings": {f"ask.passages{hostile}": {"value": 3}}},
            {"settings": {f"ask.passages{hostile}": {"value": f"5{hostile}"}}}]


@pytest.fixture(scope="module")
def record(comparison: Comparison) -> SideBySide:
    return side_by_side([comparison, later(comparison)], states())


def test_says_first_what_changed(record: SideBySide) -> None:
    said = texts.lead(record)
    assert len(said) == 1
    by_arm = {item.arm: item.difference for item in record.differences}
    assert f"finetune gains {by_arm['finetune'].mean:.2f} (95% interval " in said[0]
    # A loss is told as a size, with the interval turned round.
    lost = by_arm["rag"]
    assert (f"rag loses {-lost.mean:.2f} (95% interval {-lost.high:.2f} to {-lost.low:.2f})"
            in said[0])
    assert said[0].endswith("no change is shown for base and both.")


def test_the_heading_is_the_verdicts(record: SideBySide) -> None:
    assert texts.heading(record).startswith("The same verdict in all 2 runs: ")
    first, second = record.runs
    differ = dataclasses.replace(record, runs=(
        dataclasses.replace(first, winner="rag"), dataclasses.replace(second, winner=None)))
    assert texts.heading(differ) == "The verdicts differ: A rag, B not decidable"


def test_no_common_question_is_said(record: SideBySide) -> None:
    none = dataclasses.replace(record, differences=(), overlaps=(
        dataclasses.replace(record.overlaps[0], shared=0),))
    assert texts.lead(none) == ["A and B share no question, so nothing can be paired."]
    assert "No arm answered the same questions in two runs." in side_by_side_markdown(none)


def test_what_is_the_same_throughout_is_said(record: SideBySide) -> None:
    assert "Nothing: conditions" in side_by_side_markdown(
        dataclasses.replace(record, differing=()))


def test_every_view_has_every_difference(record: SideBySide,
                                         capsys: pytest.CaptureFixture[str],
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    print_side_by_side(record)
    printed, page = capsys.readouterr().out, render_side_by_side(record)
    written = side_by_side_markdown(record).replace("\\", "")
    for view in (printed, page, written):
        for item in record.differences:
            seen = item.difference
            assert (f"{seen.mean:.2f} ({seen.low:.2f} to {seen.high:.2f})".replace("-", "−")
                    in view)
        assert "ask.passages" in view
        assert "now it knows" in view and "lost the thread" in view


def test_eighty_columns_are_enough(comparison: Comparison, capsys: pytest.CaptureFixture[str],
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    three = side_by_side([comparison, later(comparison), comparison], [*states(), {}])
    print_side_by_side(dataclasses.replace(three, runs=tuple(
        dataclasses.replace(run, run="short") for run in three.runs)))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    # An interval is folded before its bracket, nowhere else.
    with_intervals = [line for line in lines if " to 0." in line and "interval" not in line]
    assert with_intervals
    assert all("(" not in line or ")" in line for line in with_intervals)


def test_the_terminal_runs_no_control_characters(record: SideBySide,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    item = next(d for d in record.differences if d.most_gained)
    bad = dataclasses.replace(item.most_gained[0], question="\x1b[2Jq [red]x[/red]",
                              answer_after="\x1b]0;t\x07[bold]a")
    print_side_by_side(dataclasses.replace(record, differences=(
        dataclasses.replace(item, most_gained=(bad,)),)))
    printed = capsys.readouterr().out
    assert "\x1b[2J" not in printed and "\x07" not in printed
    assert "[red]x[/red]" in printed and "[bold]a" in printed


def test_what_differs_in_long_values_stays() -> None:
    alike = "a" * 100
    short = texts.shortened([f"{alike} one", f"{alike} two", "–"], 24)
    assert short == ["…aaaaaaaaaaa one", "…aaaaaaaaaaa two", "–"]
    assert texts.shortened(["one", "two"], 24) == ["one", "two"]
    assert texts.shortened(["x" * 30, "y"], 24) == ["x" * 23 + "…", "y"]


def test_the_page_allows_its_own_style_and_nothing_else(record: SideBySide) -> None:
    page = render_side_by_side(record)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy.group(1).startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")
    assert "script-src" not in policy.group(1)
    assert "<script" not in page and "http://" not in page and "https://" not in page


def test_no_payload_runs(make: Callable[..., Comparison], tmp_path: Path) -> None:
    hostile = " ".join(payloads())
    made = make(tmp_path / "run", per_kind=4, hostile=hostile)
    page = render_side_by_side(side_by_side([made, later(made, hostile)], states(hostile)))
    assert page.count("autofocus onfocus") > 50  # they are in the page, as texts
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    # With the policy taken away, escaping has to hold by itself; markup that is there would run.
    for name, text, ran in (("bare", bare, False),
                            ("control", bare.replace("<main>", f"<main>{payloads()[7]}"), True)):
        path = tmp_path / f"{name}.html"
        path.write_text(text, encoding="utf-8")
        assert (title(dump(path, tmp_path / "profile")) == "ran") is ran, name


def test_markdown_keeps_its_tables_whole(make: Callable[..., Comparison], tmp_path: Path) -> None:
    made = make(tmp_path / "run", per_kind=4, hostile=" | <b>x</b>\n# no heading")
    written = side_by_side_markdown(side_by_side([made, later(made, "|\n|")], states("|")))
    assert "<b>" not in written
    assert "\n# no heading" not in written
    for block in written.split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_goes_beside_the_first_run(record: SideBySide, tmp_path: Path) -> None:
    first = tmp_path / "first"
    here = dataclasses.replace(record, runs=(
        dataclasses.replace(record.runs[0], run=str(first)), *record.runs[1:]))
    assert write_side_by_side(here) == first / "side-by-side.html"
    assert sorted(path.name for path in first.iterdir()) == [
        "side-by-side.html", "side-by-side.md"]
    other = tmp_path / "elsewhere.html"
    assert write_side_by_side(here, other) == other
    assert other.read_text(encoding="utf-8") == render_side_by_side(here)


def test_training_seeds_are_said_where_they_are_in_doubt(record: SideBySide) -> None:
    def said(counted: set[str], arms: set[str]) -> str:
        shown = dataclasses.replace(record, differences=tuple(
            dataclasses.replace(item, seeds=item.arm in counted)
            for item in record.differences if item.arm in arms))
        return next(part.notes[0] for part in texts.sections(shown) if part.id == "differences")

    every = {"base", "rag", "finetune", "both"}
    assert "those of finetune and both not about another training seed" in said(set(), every)
    assert "those of finetune not about another training seed" in said({"both"}, every)
    assert said({"both", "finetune"}, every).endswith("and, of tuned arms, about other training "
                                                      "seeds.")
    assert said(set(), {"base", "rag"}).endswith("are about other documents.")
