"""The page in a real browser: foreign texts never run, filter and search do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import dump, title
from xss_payloads import payloads

from full_comparison import with_everything
from phi3kit.records import Comparison
from phi3kit.report.html import render_comparison


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profile")


def test_a_hundred_payloads_are_a_hundred() -> None:
    assert len(set(payloads())) == 100


def test_no_payload_runs_anywhere(make: Callable[..., Comparison], tmp_path: Path,
                                  profile: Path) -> None:
    hostile = " ".join(payloads())
    made = with_everything(make(tmp_path / f"run {payloads()[7].replace('/', '')}", per_kind=4,
                                hostile=hostile), hostile)
    page = render_comparison(made)
    assert page.count("autofocus onfocus") > 100  # they are in the page, as texts
    # Escaping has to hold by itself: the policy, which would stop most of them, is taken away.
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert bare != page
    for name, text in (("page", page), ("bare", bare)):
        path = tmp_path / f"{name}.html"
        path.write_text(text, encoding="utf-8")
        assert title(dump(path, profile)).endswith("phi3kit"), name
    # One that does stand in the page as markup is seen to run, and the policy stops it.
    control = payloads()[7]
    for name, text, ran in (("control", bare, True), ("stopped", page, False)):
        path = tmp_path / f"{name}.html"
        path.write_text(text.replace("<main>", f"<main>{control}", 1), encoding="utf-8")
        assert (title(dump(path, profile)) == "ran") is ran, name


def shown(document: str) -> list[str]:
    """Ids of the questions that are to be seen."""
    return re.findall(r'<details class="question" (?![^>]*hidden)[^>]*data-id="([^"]*)"', document)


@pytest.fixture(scope="module")
def written(make: Callable[..., Comparison], tmp_path_factory: pytest.TempPathFactory) -> (
        tuple[Comparison, Path]):
    folder = tmp_path_factory.mktemp("filtered")
    made = make(folder, per_kind=8)
    (folder / "page.html").write_text(render_comparison(made), encoding="utf-8")
    return made, folder / "page.html"


def right(made: Comparison, arm: str) -> set[str]:
    return {row.question_id for row in made.rows
            if row.arm == arm and row.metrics["score"] >= 0.5}


def test_without_script_every_question_is_there(written: tuple[Comparison, Path]) -> None:
    raw = written[1].read_text(encoding="utf-8")
    assert len(shown(raw)) == 24 and 'aria-label="Questions" hidden' in raw


@pytest.mark.parametrize(("fragment", "wanted"), [
    ("kind=label", lambda made: {q for q in right_or_not(made) if q.startswith("label")}),
    ("is=right&arm=rag", lambda made: right(made, "rag")),
    ("is=wrong&arm=base", lambda made: right_or_not(made) - right(made, "base")),
    ("is=right", lambda made: set.intersection(*(right(made, a.arm) for a in made.arms))),
    ("is=wrong", lambda made: right_or_not(made).difference(
        *(right(made, a.arm) for a in made.arms))),
    ("is=differ", lambda made: set.union(*(right(made, a.arm) for a in made.arms))
     - set.intersection(*(right(made, a.arm) for a in made.arms))),
    ("q=PUMP%203%3F", lambda made: {"fact-3", "label-3", "unanswerable-3"}),
    ("q=other%20one", lambda made: {r.question_id for r in made.rows if "other one" in r.output}),
    ("kind=nonsense", lambda made: right_or_not(made)),
    ("arms", lambda made: right_or_not(made)),
])
def test_filters_show_what_they_say(
        written: tuple[Comparison, Path], profile: Path, fragment: str,
        wanted: Callable[[Comparison], set[str]]) -> None:
    made, path = written
    expected = wanted(made)
    document = dump(path, profile, fragment)
    assert set(shown(document)) == expected
    assert f"{len(expected)} of 24 questions" in document
    assert '<div id="tools" role="search" aria-label="Questions">' in document


def right_or_not(made: Comparison) -> set[str]:
    return {row.question_id for row in made.rows}
