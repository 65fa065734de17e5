"""What settles an undecided advice: the same formula as compare's, a command that can run."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from scipy import stats

from phi3kit.advise.at_hand import AtHand
from phi3kit.advise.rules import Confidence, load_rules
from phi3kit.advise.sample_size import questions_for
from phi3kit.advise.score import advise, confidence
from phi3kit.advise.settle import SPREAD, WORTH_KNOWING, in_question, least_margin, settle
from phi3kit.compare.needed import questions_needed
from phi3kit.records import Difference, Interval
from phi3kit.settings import CompareSettings, Settings

ROOT = Path(__file__).resolve().parents[2]
AT = Confidence(intercept=-1.0, slope=10.0, decided_from=0.8)


def test_the_formula_is_the_textbook_one() -> None:
    reach = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    assert questions_for(0.1, 0.6) == pytest.approx((reach * 0.6 / 0.1) ** 2)
    assert 275 < questions_for(0.1, 0.6) < 290


def test_it_has_the_power_that_it_promises() -> None:
    n = math.ceil(questions_for(0.1, 0.6))
    # Drawn normal, tested two-sided at 5%: found in four of five.
    shift = 0.1 / (0.6 / math.sqrt(n))
    found = stats.norm.sf(stats.norm.isf(0.025) - shift)
    assert found == pytest.approx(0.8, abs=0.01)


def test_compare_counts_by_the_same_formula() -> None:
    clusters, questions, error = 60, 150, 0.05
    width = error * stats.t.isf(0.025, clusters - 1)
    item = Difference("rag", "base", Interval(0.1, 0.1 - width, 0.1 + width), 0.3)
    needed = questions_needed(item, questions=questions, clusters=clusters, pairs=6,
                              confidence=0.95)
    # By Student's t and in whole documents it is a little more than by the normal quantiles.
    assert needed is not None
    many = questions_for(0.1, error * math.sqrt(questions), pairs=6)
    assert many < needed < 1.03 * many


def test_the_spread_is_no_less_than_what_was_measured() -> None:
    """Read back from the sample's verdict: its margin, its questions, its documents."""
    demo = json.loads((ROOT / "docs/measured/demo.json").read_text())
    seen = re.search(r"interval (\S+) to (\d\.\d+)", demo["verdict"]["sentence"])
    assert seen
    low, high = map(float, seen.groups())
    asked = [json.loads(line) for line in
             (ROOT / "data/questions.jsonl").read_text(encoding="utf-8").splitlines()]
    clusters = len({(q["source_ids"] or [q["id"]])[0] for q in asked})
    error = (high - low) / 2 / stats.t.isf(0.025, clusters - 1)
    assert 0.4 < error * math.sqrt(len(asked)) <= SPREAD


def test_options_in_question_are_within_the_deciding_margin() -> None:
    at = least_margin(AT)
    assert 1 / (1 + math.exp(-(AT.intercept + AT.slope * at))) == pytest.approx(0.8)
    # Between two alone: shares of 1 + at to 1 - at are exactly that margin apart.
    apart, close = 0.4 * (1 - at) / (1 + at) - 0.001, 0.4 * (1 - at) / (1 + at) + 0.001
    scores = {"base": 0.05, "rag": 0.4, "finetune": apart, "both": close}
    assert in_question(scores, AT) == ("rag", "both")
    clear = {"base": 0.0, "rag": 0.9, "finetune": 0.08, "both": 0.02}
    assert in_question(clear, AT) == ("rag", "finetune")  # a contradiction: two at least


def test_more_options_and_surer_verdicts_take_more_questions() -> None:
    two = settle(("rag", "both"), AtHand())
    three = settle(("rag", "both", "base"), AtHand())
    surer = settle(("rag", "both"), AtHand(Settings(compare=CompareSettings(confidence=0.99))))
    assert two.questions < three.questions
    assert two.questions < surer.questions
    assert two.difference == WORTH_KNOWING
    assert "99% confidence" in surer.how


def test_the_command_names_what_it_needs() -> None:
    assert settle(("rag", "base"), AtHand()).command == (
        "phi3kit compare --questions YOUR_QUESTIONS.jsonl --arms base,rag")
    tuned = settle(("both", "rag"), AtHand(model="phi-3-mini")).command
    assert tuned == ("phi3kit compare --questions YOUR_QUESTIONS.jsonl --arms rag,both "
                     "--adapter RUN_OF_FINETUNE --model phi-3-mini")
    known = Settings(compare=CompareSettings(questions="q.jsonl"))
    assert settle(("rag", "base"), AtHand(known)).command == "phi3kit compare --arms base,rag"


def test_undecided_advice_says_what_settles_it() -> None:
    advice = advise({})
    assert not advice.decided
    assert advice.settle is not None
    assert advice.next[-1] == advice.settle.command
    assert advice.settle.arms[0] == advice.recommendation
    rules = load_rules()
    assert advice.settle.arms == in_question(advice.scores, rules.confidence)
    decided = advise({"task": "qa", "external_facts": "essential", "citations": "required",
                      "facts_change": "weekly", "training_examples": 0})
    assert decided.decided
    assert confidence(rules, decided.scores) >= rules.confidence.decided_from
    assert decided.settle is None
