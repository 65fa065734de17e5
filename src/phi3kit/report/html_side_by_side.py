"""Runs side by side as one page that needs nothing else: no script, nothing from the net."""

from __future__ import annotations

from pathlib import Path

from phi3kit.files import write_named
from phi3kit.records import SideBySide
from phi3kit.report import comparison_text as words
from phi3kit.report import side_by_side_text as texts
from phi3kit.report.html import IN_THE_RUN, PAGE_ELSEWHERE
from phi3kit.report.markdown_side_by_side import side_by_side_markdown
from phi3kit.report.page import render

NAME = "side-by-side"


def write_side_by_side(record: SideBySide, html: Path | None = None) -> Path:
    """Write side-by-side.html and side-by-side.md; returns where the page lies.

    They go into the folder of the first run, which the others are held against.

    Args:
        record: what is drawn.
        html: where the page goes instead.

    Raises:
        DataError: one of them cannot be written.
    """
    folder = Path(record.runs[0].run)
    page = html or folder / f"{NAME}.html"
    write_named(page, render_side_by_side(record), mend=PAGE_ELSEWHERE)
    write_named(folder / f"{NAME}.md", side_by_side_markdown(record), mend=IN_THE_RUN)
    return page


def render_side_by_side(record: SideBySide) -> str:
    """The page. Whatever comes from questions, models or settings is escaped."""
    return render(
        "side_by_side.html.j2", "side_by_side.css", heading=texts.heading(record),
        lead=texts.lead(record), same=len({run.winner for run in record.runs}) == 1,
        sections=texts.sections(record), changed=texts.changed(record),
        first=record.runs[0].label, number=words.number)
