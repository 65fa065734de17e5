"""Every record has its place in the page and in Markdown, and leaves no trace where it is not."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest

from full_comparison import with_everything
from phi3kit.records import Comparison
from phi3kit.report.html import render_comparison
from phi3kit.report.markdown import comparison_markdown
from phi3kit.report.sections import sections

SAID = {
    "choice": ["rag stays ahead until cost weighs less than 0.12.", "cost (30%)", "83%"],
    "gates": ["both.score >= 0.6", "passed"],
    "effects": ["Retrieving adds 0.31.", "0.31 (0.24 to 0.38)", "99.5%", "&lt; 0.001"],
    "documents": ["documents", "2"],
    "diagnostics": ["oracle-rag", "Mend the retrieval first.", "0.20 (0.10 to 0.30)"],
    "costs": ["390 EUR", "1,200", "10,000 questions and 2 refreshes a month", "3.00 GiB",
              "Prices are those of the file."],
    "learning": ["Twice the examples may bring 0.10.", "200", "0.10 (−0.05 to 0.25)"],
    "loss": ["finetune, bolted-on", "60", "2.400", "0.612", "runs/finetune-1"],
    "freshness": ["12 facts", "0.90 (0.80 to 0.90)", "31 chunks anew took 2.4 s", "840 s"],
    "forms": ["finetune over base", "40%", "Two fifths of the lead are form."],
    "harms": ["24 general questions", "0.07 (0.02 to 0.12)", "–"],
    "judged": ["61", "0.34 (0.20 to 0.48)"],
    "notes": ["trained for two epochs"],
}


@pytest.fixture(scope="module")
def full(comparison: Comparison) -> Comparison:
    return with_everything(comparison)


def test_each_record_has_its_section_with_its_figures(full: Comparison) -> None:
    page = render_comparison(full)
    made = [section.id for section in sections(full)]
    assert sorted(made) == sorted(SAID)
    for name, texts in SAID.items():
        part = re.search(rf'<section[^>]*aria-labelledby="{name}-section">(.*?)</section>', page,
                         re.DOTALL)
        assert part, name
        # The page escapes; of these only the gate has something to escape.
        for text in texts:
            assert text.replace(" >=", " &gt;=") in part.group(1), (name, text)


def test_what_was_not_measured_leaves_no_trace(comparison: Comparison) -> None:
    bare = dataclasses.replace(comparison, effects=(), discordances=(), likely_best={}, harms=(),
                               forms=(), detectable=None)
    assert sections(bare) == []
    assert 'class="section"' not in render_comparison(bare)


def test_the_heading_follows_the_choice_by_weights(full: Comparison) -> None:
    page = render_comparison(full)
    assert "<h1>Choose rag: retrieve</h1>" in page
    assert full.choice is not None and full.verdict.winner == "both"
    open_ = render_comparison(dataclasses.replace(
        full, choice=dataclasses.replace(full.choice, chosen=None)))
    assert "<h1>Your weights do not decide it yet</h1>" in open_
    assert "Not decidable yet" in open_ and "Not decidable yet" not in page


def test_plots_name_every_arm_and_every_figure(full: Comparison) -> None:
    page = render_comparison(full)
    told = dict(re.findall(r'<desc id="(\w+)-desc">([^<]*)', page))
    assert told["latency"].count(" in ") == 4
    assert "both: 0.8" in told["cost"] and "for 390 EUR" in told["cost"]
    assert "both: 130 EUR and 0.026 EUR for each question" in told["volume"]
    assert "finetune, bolted-on: from 2.40 to 0.61 in 60 steps" in told["loss"]
    assert "finetune expected 0.55 after 200" in told["learning"]
    assert "unsafe" not in page.partition("<title>")[0]


def test_headings_go_down_one_step_at_a_time(full: Comparison) -> None:
    levels = [int(level) for level in re.findall(r"<h(\d)", render_comparison(full))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_markdown_has_the_same_tables(full: Comparison) -> None:
    text = comparison_markdown(full).replace("\\", "")
    for section in sections(full):
        assert f"## {section.heading}\n" in text
        for table in section.tables:
            for row in table.rows:
                assert f"| {' | '.join(row)} |" in text
