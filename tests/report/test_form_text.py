"""How much of a lead is form, and what an arm should not do, in the findings of every view."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from phi3kit.records import Comparison, FormShare, Harm, Interval
from phi3kit.report.comparison_text import findings
from phi3kit.report.form_text import form_sentences, harm_sentences
from phi3kit.report.html import render_comparison
from phi3kit.report.markdown import comparison_markdown
from phi3kit.report.terminal_comparison import print_comparison

SOME = Interval(0.2, 0.1, 0.3)
NONE = Interval(0.02, 0.0, 0.05)


def share(a: Any, b: Any, part: float | None) -> FormShare:
    return FormShare(a, b, SOME, SOME, SOME, SOME, part, f"{a} leads {b}, {part} is form.")


def harm(arm: Any, **more: Interval) -> Harm:
    parts: dict[str, Interval | None] = dict.fromkeys(
        ("forgotten", "answered_unanswerable", "fabricated_citations", "unsupported_numbers"))
    return Harm(arm, 10, **{**parts, **more})


FORMS = (share("finetune", "base", 0.7), share("finetune", "rag", 0.2),
         share("both", "base", 0.3), share("both", "rag", 0.6))


def test_the_winner_is_told_over_the_better_untuned_arm(comparison: Comparison) -> None:
    assert comparison.verdict.winner == "both"
    found = dataclasses.replace(comparison, forms=FORMS)
    assert form_sentences(found) == [
        "both leads rag, 0.6 is form.",
        "Mostly form, for it goes when the words around the answer are forgiven: the lead of "
        "finetune over base, 70%."]


def test_nothing_is_said_where_nothing_is_known_or_form_is_forgiven(
        comparison: Comparison) -> None:
    unclear = tuple(dataclasses.replace(form, share=None) for form in FORMS)
    assert form_sentences(dataclasses.replace(comparison, forms=unclear)) == []
    assert form_sentences(dataclasses.replace(comparison, forms=())) == []
    by_contains = dataclasses.replace(comparison.verdict, metric="contains")
    assert form_sentences(dataclasses.replace(
        comparison, forms=FORMS, verdict=by_contains)) == []


def test_notable_harms_are_told_worst_first(comparison: Comparison) -> None:
    found = dataclasses.replace(comparison, harms=(
        harm("base", answered_unanswerable=SOME),
        harm("both", answered_unanswerable=Interval(0.4, 0.2, 0.6), fabricated_citations=NONE),
        harm("finetune", forgotten=Interval(0.1, 0.05, 0.2), answered_unanswerable=NONE)))
    assert harm_sentences(found) == [
        "Answers to questions that have no answer: both 40%, base 20%.",
        "Forgotten, of the general questions that base answers right: finetune 10%."]
    assert harm_sentences(dataclasses.replace(comparison, harms=(
        harm("both", answered_unanswerable=NONE),))) == []


def test_every_view_says_both(comparison: Comparison, capsys: pytest.CaptureFixture[str]) -> None:
    found = dataclasses.replace(comparison, forms=FORMS,
                                harms=(harm("both", fabricated_citations=SOME),))
    told = dict(findings(found))
    assert "both leads rag, 0.6 is form." in told["Why?"]
    assert told["What do they do that they should not?"] == [
        "Answers that cite a passage which is not there: both 20%."]
    print_comparison(found)
    for text in (capsys.readouterr().out, render_comparison(found), comparison_markdown(found)):
        flat = " ".join(text.replace("\\", "").split())
        assert "both leads rag, 0.6 is form." in flat
        assert "Answers that cite a passage which is not there: both 20%." in flat
