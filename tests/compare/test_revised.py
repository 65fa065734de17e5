"""The advice after a comparison: made from the answers before, at load, without a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finished_comparison import finished
from phi3kit.advise.score import advise
from phi3kit.compare.results import RESULT, load_comparison
from phi3kit.records import Comparison, as_json

ANSWERS = {"task": "qa", "external_facts": "essential", "citations": "required",
           "training_examples": 400, "dataset_quality": "high", "latency_sensitive": True}
N = 40
BEST = {"rag": [0.2] * N, "finetune": [0.9] * N}
LEVEL = {"rag": [0.5, 0.6] * (N // 2), "finetune": [0.6, 0.5] * (N // 2)}


def before(**changed: object) -> dict[str, object]:
    """Advice as `advise --json` prints it."""
    made = as_json(advise(ANSWERS))
    return {**json.loads(json.dumps(made)), **changed}


def test_what_was_measured_goes_before_what_was_argued(tmp_path: Path) -> None:
    found = finished(tmp_path, BEST, advice=before(recommendation="rag", confidence=0.81),
                     seconds={"rag": 1.0, "finetune": 3.0})
    revised = found.revised
    assert revised is not None
    assert (revised.before, revised.before_confidence) == ("rag", 0.81)
    assert (revised.after, revised.basis) == ("finetune", "measured")
    # It wins, and has no source to show: that is not decided by a score.
    assert not revised.decided
    assert any("citations = required" in line for line in revised.requirements)
    assert any("latency_sensitive" in line for line in revised.requirements)


def test_it_is_what_advise_says_with_this_evidence(tmp_path: Path) -> None:
    for scores in (BEST, LEVEL):
        found = finished(tmp_path, scores, advice=before())
        again = advise(ANSWERS, comparison=found)
        assert found.revised is not None
        assert (found.revised.after, found.revised.confidence, found.revised.decided,
                found.revised.basis) == (
            again.recommendation, again.confidence, again.decided, again.basis)
    assert found.revised.basis == "argued" and found.verdict.winner is None


def test_the_result_holds_none_of_it_and_loading_makes_it(tmp_path: Path) -> None:
    found = finished(tmp_path, BEST, advice=before())
    assert "revised" not in json.loads((Path(found.run) / RESULT).read_bytes())
    assert load_comparison(Path(found.run)).revised == found.revised is not None


@pytest.mark.parametrize("advice", [
    None, {"recommendation": "rag"}, {"recommendation": "rag", "scenario": None},
    {"recommendation": "rag", "scenario": ["task"]}, {"scenario": ANSWERS}])
def test_without_the_answers_of_before_there_is_none(
        tmp_path: Path, advice: dict[str, object] | None) -> None:
    assert finished(tmp_path, BEST, advice=advice).revised is None


def test_answers_that_are_none_are_told_and_stop_nothing(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = finished(tmp_path, BEST, advice=before(scenario={"task": "poetry"}))
    assert isinstance(found, Comparison) and found.revised is None
    assert "the advice after the comparison is not known" in capsys.readouterr().err


@pytest.mark.parametrize("confidence", ["high", None, True, 7, -0.1])
def test_a_confidence_that_is_none_is_left_out(tmp_path: Path, confidence: object) -> None:
    found = finished(tmp_path, BEST, advice=before(confidence=confidence))
    assert found.revised is not None and found.revised.before_confidence is None
