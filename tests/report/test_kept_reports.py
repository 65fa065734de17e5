"""The kept decisions are drawn as this version draws them: `scripts/decisions` is to be run again
when they are not (it reuses what was answered)."""

from __future__ import annotations

import dataclasses

import pytest

from phi3kit.compare.results import load_comparison
from phi3kit.report.html import render_comparison
from phi3kit.report.markdown import comparison_markdown
from phi3kit.shipped import shipped

KEPT = shipped("data") / "decisions"


@pytest.mark.parametrize("name", sorted(
    path.name for path in KEPT.iterdir() if (path / "result.json").is_file()))
def test_a_kept_report_is_what_is_drawn_today(name: str) -> None:
    # The page names its run folder, as scripts/decisions gave it.
    folder = KEPT / name
    html = (folder / "report.html").read_text(encoding="utf-8")
    run = html.rpartition("Drawn from ")[2].partition(";")[0]
    comparison = load_comparison(folder)
    comparison = dataclasses.replace(comparison, run=run)
    assert render_comparison(comparison) == html
    assert comparison_markdown(comparison) == (folder / "report.md").read_text(encoding="utf-8")
