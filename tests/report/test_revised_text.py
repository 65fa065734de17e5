"""What reports say of the advice after a comparison, and of an option that is enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lxml.html
import pytest

from finished_comparison import finished
from phi3kit.advise.score import advise
from phi3kit.records import Choice, Comparison, Revised, Standing
from phi3kit.report.advice_text import outcome
from phi3kit.report.comparison_text import findings
from phi3kit.report.html import render_comparison
from phi3kit.report.markdown import comparison_markdown
from phi3kit.report.revised_text import advice_sentences
from phi3kit.report.terminal_comparison import print_comparison

WON = Revised("rag", 0.81, "both", 0.95, True, "measured")
OPEN = Revised("rag", None, "rag", 0.72, False, "argued")
LACKING = Revised("rag", 0.81, "finetune", 0.95, False, "measured",
                  ("citations = required, and finetune has no source to show",
                   "rag has <b>0.20</b>"))
ANSWERS = {"task": "qa", "external_facts": "essential", "training_examples": 400}
# The difference of both and finetune is 0 on the whole: 40 documents, one better, one worse.
EQUAL = {"base": [0.1] * 40, "rag": [0.2] * 40, "finetune": [0.9] * 40,
         "both": [0.91, 0.89] + [0.9] * 38}
# finetune is behind by 0.01 in each document: beyond doubt, and less than the margin.
NEARLY = {**EQUAL, "both": [0.91] * 40}


@pytest.mark.parametrize(("revised", "said"), [
    (WON, "As measured it becomes both."),
    (OPEN, "By the rules it stays rag (72% sure), for the comparison does not decide it."),
    (LACKING, "As measured it becomes finetune, still open."),
])
def test_before_and_after_are_said_once(comparison: Comparison, revised: Revised,
                                        said: str) -> None:
    sentences = advice_sentences(dataclasses.replace(comparison, revised=revised))
    assert sentences[:2] == ["The advice was both (72% sure): confirmed, for it wins.", said]
    assert len(sentences) == (3 if revised.requirements else 2)
    assert advice_sentences(dataclasses.replace(comparison, revised=None)) == sentences[:1]
    unadvised = dataclasses.replace(comparison.verdict, prediction=None, outcome=None)
    assert advice_sentences(dataclasses.replace(comparison, verdict=unadvised)) == []


@pytest.mark.parametrize("told", [None, "high", True, float("nan"), 72])
def test_a_confidence_that_is_none_is_not_told(comparison: Comparison, told: object) -> None:
    found = dataclasses.replace(comparison, advice={"confidence": told})
    assert advice_sentences(found)[0].startswith("The advice was both: confirmed")


def test_weights_may_choose_otherwise(comparison: Comparison,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    weighed = Choice({"quality": 0.5, "cost": 0.5}, "base", (
        Standing("base", {}, 0.9, 0.9), Standing("both", {}, 0.1, 0.1)), (), "base by weights.")
    found = dataclasses.replace(comparison, revised=WON, choice=weighed)
    said = "On quality alone, the advice was both (72% sure): confirmed, for it wins."
    for name, text in views(found, capsys).items():
        assert said in text and "The advice was" not in text, name


def views(comparison: Comparison, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Each report's text, markup resolved, on one line."""
    print_comparison(comparison)
    terminal = capsys.readouterr().out.replace("│", " ")
    page = lxml.html.fromstring(render_comparison(comparison)).text_content()
    marked = comparison_markdown(comparison).replace("\\", "")
    return {name: " ".join(text.split()) for name, text in (
        ("terminal", terminal), ("page", page), ("markdown", marked))}


@pytest.mark.parametrize("revised", [WON, OPEN, LACKING])
def test_every_report_says_it(comparison: Comparison, revised: Revised,
                              capsys: pytest.CaptureFixture[str]) -> None:
    shown = dataclasses.replace(comparison, revised=revised)
    for name, text in views(shown, capsys).items():
        for sentence in advice_sentences(shown):
            assert sentence in text, name
    assert "<b>0.20" not in render_comparison(shown)
    for name, text in views(dataclasses.replace(comparison, revised=None), capsys).items():
        assert "As measured it" not in text and "By the rules it" not in text, name
        assert "before and after" not in text, name


def test_a_run_that_was_read_back_says_it(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = finished(tmp_path, NEARLY, advice={"recommendation": "rag", "confidence": 0.81,
                                               "scenario": ANSWERS})
    for name, text in views(found, capsys).items():
        assert ("The advice was rag (81% sure): refuted, for at least one other arm beats it. As "
                "measured it becomes both.") in text, name


def test_what_has_to_be_known_to_read_it_is_in_every_view(
        comparison: Comparison, capsys: pytest.CaptureFixture[str]) -> None:
    found = dataclasses.replace(comparison, notes=("both: tuned [bold]otherwise",))
    for name, text in views(found, capsys).items():
        assert "To read this rightly" in text and "both: tuned [bold]otherwise" in text, name


def test_the_terminal_counts_right_and_wrong_on_the_metric_that_decides(
        make: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    comparison = make(tmp_path, per_kind=6)
    measured = {found.metric for found in comparison.discordances}
    assert {"exact_match", "contains"} < measured

    def counted(metric: str) -> str:
        print_comparison(dataclasses.replace(comparison, verdict=dataclasses.replace(
            comparison.verdict, metric=metric)))
        return capsys.readouterr().out.partition("Right or wrong")[2].partition("How sure")[0]

    for decides, shown in (("exact_match", "exact match"), ("contains", "contains"),
                           ("score", "contains"), ("token_f1", "contains")):
        text = counted(decides)
        assert text.startswith(f" ({shown})"), decides
        pairs = [found for found in comparison.discordances
                 if found.metric == shown.replace(" ", "_")]
        lines = [" ".join(line.split()) for line in text.splitlines()]
        assert len(pairs) == 6
        for found in pairs:
            begins = f"{found.a}, {found.b} {found.only_a} {found.only_b} "
            assert [line for line in lines if line.startswith(begins)], (decides, begins)
    print_comparison(dataclasses.replace(comparison, discordances=()))
    assert "McNemar" not in capsys.readouterr().out


@pytest.mark.parametrize("scores", [EQUAL, NEARLY])
def test_an_option_that_is_enough_is_told_from_one_that_is_ahead(
        tmp_path: Path, scores: dict[Any, list[float]],
        capsys: pytest.CaptureFixture[str]) -> None:
    found = finished(tmp_path, scores, compare={"margin": 0.05},
                     advice={"recommendation": "both"})
    assert found.verdict.enough and found.verdict.winner == "finetune"
    sure = dict(findings(found))["How sure is that?"][0]
    assert sure == ("finetune is the simplest option whose 95% intervals against every other lie "
                    "above −0.05: a lead of 0.05 was said not to be worth another part "
                    "(compare.margin).")
    fate, = advice_sentences(found)
    assert fate == "The advice was both: refuted, for finetune is enough."
    for name, text in views(found, capsys).items():
        assert sure in text and fate in text, name


def test_without_a_margin_the_same_answers_are_told_otherwise(tmp_path: Path) -> None:
    ahead, level = finished(tmp_path / "a", NEARLY), finished(tmp_path / "b", EQUAL)
    assert "Every other arm is behind both" in dict(findings(ahead))["How sure is that?"][0]
    assert "nothing separates" in dict(findings(level))["How sure is that?"][0]
    assert level.verdict.winner is None


def test_the_advice_takes_an_option_that_is_enough_for_what_it_is(tmp_path: Path) -> None:
    enough = finished(tmp_path / "a", NEARLY, compare={"margin": 0.05})
    said = outcome(advise(ANSWERS, comparison=enough))
    assert said[0] == ("On score, finetune is enough, by the comparison's margin: 40 questions in "
                       "40 groups by source document.")
    assert said[-1] == "The best, or not told from it: both."
    won = outcome(advise(ANSWERS, comparison=finished(tmp_path / "b", NEARLY)))
    assert "both beats every other option" in won[0]
    assert not any("not told from it" in line for line in won)
