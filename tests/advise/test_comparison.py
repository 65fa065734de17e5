"""A finished comparison taken into the advice: measured goes before argued."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finished_comparison import finished
from phi3kit.advise.score import advise

LOW, HIGH = [0.0, 0.1] * 20, [0.9, 1.0] * 20
# As good as HIGH on the whole, better here and worse there: they cannot be told apart.
MIXED = [1.0, 0.9] * 20
RAG = {"task": "qa", "external_facts": "essential", "facts_change": "monthly",
       "training_examples": 0}
WEEKLY = {**RAG, "facts_change": "weekly"}


def test_a_winner_goes_before_the_rules(tmp_path: Path) -> None:
    seen = finished(tmp_path, {"base": LOW, "rag": LOW, "finetune": HIGH})
    alone = advise(RAG)
    advice = advise(RAG, comparison=seen)
    assert alone.recommendation == "rag"
    assert (advice.recommendation, advice.basis, advice.decided) == ("finetune", "measured", True)
    assert advice.confidence == seen.confidence == 0.95
    assert advice.settle is None
    assert advice.reverse_when == ()
    assert advice.comparison is not None
    assert advice.comparison.argued == "rag"
    assert next(iter(advice.comparison.arms)) == "finetune"
    assert (advice.comparison.questions, advice.comparison.clusters) == (40, 40)
    assert advice.scores == alone.scores
    assert advice.method == "lora"
    assert advice.next == ('phi3kit ask "YOUR QUESTION" --no-rag --adapter runs/finetune-1',)
    assert {cost.option for cost in advice.costs} <= {"finetune"}


@pytest.mark.parametrize(("base", "named"), [
    ("phi-3-mini", " --model phi-3-mini"), ("smollm2-135m", "")])
def test_what_was_measured_is_used_on_the_base_that_it_was_measured_on(
    tmp_path: Path, base: str, named: str,
) -> None:
    seen = finished(tmp_path, {"base": LOW, "rag": LOW, "finetune": HIGH})
    record = Path(seen.run) / "run.json"
    state = json.loads(record.read_text())
    state["settings"]["model.name"] = {"value": base}
    record.write_text(json.dumps(state))
    advice = advise({**RAG, "model_size_b": 7}, comparison=seen)
    assert advice.next == (
        f'phi3kit ask "YOUR QUESTION" --no-rag --adapter runs/finetune-1{named}',)


def test_the_argued_option_stands_among_equals(tmp_path: Path) -> None:
    seen = finished(tmp_path, {"base": LOW, "rag": MIXED, "finetune": HIGH})
    assert seen.verdict.winner is None
    advice = advise(RAG, comparison=seen)
    assert (advice.recommendation, advice.basis, advice.decided) == ("rag", "argued", False)
    assert advice.confidence == advise(RAG).confidence
    assert advice.comparison is not None
    assert set(advice.comparison.contenders) == {"rag", "finetune"}


def test_the_best_contender_replaces_what_was_beaten(tmp_path: Path) -> None:
    seen = finished(tmp_path, {"base": HIGH, "rag": LOW, "finetune": MIXED})
    advice = advise(RAG, comparison=seen)
    assert advice.recommendation == seen.verdict.contenders[0]
    assert (advice.basis, advice.decided, advice.confidence) == ("measured", False, 0.5)


def test_questions_are_counted_from_the_comparison(tmp_path: Path) -> None:
    ahead = [1.0, 1.0, 1.0, 0.0] * 10
    behind = [1.0, 0.0, 1.0, 1.0] * 9 + [0.0, 0.0, 1.0, 0.0]
    seen = finished(tmp_path, {"rag": ahead, "both": behind})
    assert seen.verdict.winner is None
    assert seen.verdict.questions_needed is not None
    advice = advise(RAG, comparison=seen)
    assert advice.settle is not None
    assert advice.settle.questions == seen.verdict.questions_needed
    assert advice.settle.difference == pytest.approx(0.1, abs=0.06)
    assert advice.settle.arms == ("rag", "both")
    # What ran is there already: nothing is to be ingested or trained again.
    assert advice.next == (advice.settle.command,)
    assert advice.settle.command == (
        "phi3kit compare --questions 'held out.jsonl' --arms rag,both --adapter runs/finetune-1")


def test_what_the_rules_argue_for_did_not_run(tmp_path: Path) -> None:
    seen = finished(tmp_path, {"base": LOW, "finetune": HIGH})
    advice = advise(RAG, comparison=seen)
    assert (advice.recommendation, advice.basis, advice.decided) == ("finetune", "measured", False)
    assert advice.comparison is not None
    assert "rag, which the rules argue for" in " ".join(advice.comparison.requirements)
    assert advice.settle is not None
    assert advice.settle.arms == ("finetune", "rag")
    assert "--arms base,rag,finetune" in advice.settle.command
    assert advice.next[0].startswith("phi3kit ingest")
    assert advice.next[-1] == advice.settle.command


@pytest.mark.parametrize(("answers", "line"), [
    ({**RAG, "citations": "required"}, "citations = required"),
    (WEEKLY, "facts_change = weekly"), ({**RAG, "facts_change": "daily"}, "facts_change = daily"),
])
def test_a_winner_that_lacks_what_is_required(tmp_path: Path, answers, line) -> None:
    seen = finished(tmp_path, {"base": LOW, "rag": LOW, "finetune": [1.5, 1.4] * 20,
                               "both": MIXED})
    advice = advise(answers, comparison=seen)
    assert (advice.recommendation, advice.decided) == ("finetune", False)
    assert advice.comparison is not None
    assert line in advice.comparison.requirements[0]
    assert "both has 0.95 on score, finetune 1.45" in advice.comparison.requirements[1]
    # The options were told apart, so nothing is left to measure: the one that can do it is next.
    assert advice.settle is None
    assert advice.next == ('phi3kit ask "YOUR QUESTION" --adapter runs/finetune-1',)


def test_the_winner_with_retrieval_added_is_still_to_be_measured(tmp_path: Path) -> None:
    answers = {"task": "classification", "facts_in_request": "yes", "closed_output": True,
               "output_strictness": "high", "training_examples": 5000, "facts_change": "weekly",
               "latency_sensitive": True}
    seen = finished(tmp_path, {"base": LOW, "finetune": HIGH})
    advice = advise(answers, comparison=seen)
    assert advice.comparison is not None
    assert advice.comparison.argued == "finetune"
    assert not advice.decided
    assert advice.settle is not None
    assert advice.settle.arms == ("finetune", "both")
    assert advice.next[0].startswith("phi3kit ingest")
    assert not any(command.startswith("phi3kit finetune") for command in advice.next)
    # Facts that the request brings along are as fresh as it is.
    advice = advise({**answers, "external_facts": "none"}, comparison=seen)
    assert advice.decided
    assert advice.comparison is not None
    assert advice.comparison.requirements == ()


def test_a_retrieving_winner_meets_every_requirement(tmp_path: Path) -> None:
    seen = finished(tmp_path, {"base": LOW, "rag": HIGH})
    advice = advise({**WEEKLY, "citations": "required"}, comparison=seen)
    assert (advice.recommendation, advice.decided) == ("rag", True)
    assert advice.comparison is not None
    assert advice.comparison.requirements == ()


def test_a_slow_winner_is_named_when_speed_counts(tmp_path: Path) -> None:
    seen = finished(tmp_path, {"base": LOW, "rag": HIGH}, seconds={"base": 0.5, "rag": 2.0})
    fast = advise({**RAG, "latency_sensitive": True}, comparison=seen)
    assert fast.comparison is not None
    assert "rag took 2 s an answer (median), base 0.5 s" in fast.comparison.requirements[0]
    assert fast.decided
    slow = advise({**RAG, "latency_sensitive": False}, comparison=seen)
    assert slow.comparison is not None
    assert slow.comparison.requirements == ()
