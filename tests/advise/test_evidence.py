"""The cases, the rules that cite them, and what validation promises."""

from __future__ import annotations

import json
import os

import pytest

from phi3kit.advise.evidence import load_cases
from phi3kit.advise.explain import explain_rule
from phi3kit.advise.fit import RIDGE, cross_validate, fit_weights
from phi3kit.advise.prediction import read_prediction, write_prediction
from phi3kit.advise.rules import load_rules
from phi3kit.advise.score import advise
from phi3kit.advise.validate import scorable, validate_rules
from phi3kit.errors import DataError
from phi3kit.shipped import shipped

CASES = load_cases()
RULES = load_rules()
VALIDATION = validate_rules(others=False)


def test_rules_cite_cases_that_exist() -> None:
    ids = {case.id for case in CASES}
    assert len(CASES) == len(ids) == 65
    assert set(RULES.cases) == ids
    for rule in RULES:
        assert {*rule.supporting, *rule.against} <= ids
        assert not {*rule.supporting} & {*rule.against}
        assert rule.source
    assert all(case.winner in case.acceptable for case in CASES)
    assert all(case.source.url.startswith("https://") for case in CASES)


def test_figures_that_were_not_seen_are_marked() -> None:
    for case in CASES:
        if case.figures != "seen":
            assert "(~)" in RULES.cases[case.id] or case.id == "tfew_raft_50_examples", case.id


def test_validation_beats_the_baselines() -> None:
    result = VALIDATION
    assert result["rules"]["accuracy"] >= 0.75
    assert result["rules"]["decided"] >= 0.5
    assert result["rules"]["accuracy_decided"] >= 0.9
    assert result["by_round"]["round 1"]["accuracy"] >= 0.8
    assert result["by_round"]["round 1"]["decided"] >= 0.6
    best = max(row["accuracy"] for row in result["baselines"].values())
    assert result["rules"]["accuracy"] > best + 0.2
    assert sum(n for row in result["confusion"].values() for n in row.values()) == result["cases"]


def test_written_validation_belongs_to_these_rules() -> None:
    written = json.loads((shipped("data") / "evidence" / "validation.json").read_text())
    assert written["rules_sha256"] == RULES.sha256, "run scripts/fit-advice"
    assert written["rules"] == VALIDATION["rules"]
    assert written["in_sample"] == VALIDATION["in_sample"]


def test_the_weights_are_those_that_fit() -> None:
    """Whoever edits a rule or a case runs `scripts/fit-advice --write`."""
    found = fit_weights(RULES, scorable(), RIDGE)
    assert [rule.weight for rule in RULES] == pytest.approx(
        [rule.weight for rule in found], abs=0.011)


def test_fitting_lowers_the_loss_and_keeps_the_signs() -> None:
    from phi3kit.advise.fit import judge, log_loss, with_weights

    cases = [case for case in CASES if case.scorable]
    fitted = fit_weights(RULES, cases, ridge=3.0)
    assert log_loss(judge(fitted, cases)) < log_loss(judge(with_weights(RULES, 1.0), cases))
    assert all(rule.weight >= 0 for rule in fitted)


def test_cross_validation_keeps_a_study_together(monkeypatch) -> None:
    from phi3kit.advise import fit

    seen = []
    monkeypatch.setattr(fit, "fit_weights", lambda rules, cases, ridge: (
        seen.append({case.group for case in cases}), rules)[1])
    outcomes = cross_validate(RULES, CASES, 1.0)
    assert len(outcomes) == len(CASES)
    groups = {case.group for case in CASES}
    assert sorted(sorted(groups - rest) for rest in seen) == sorted([g] for g in groups)


def test_explain() -> None:
    rule = explain_rule("changing-facts")
    assert rule["grades"][-1]["when"] == ["facts_change = daily"]
    assert any(case["id"] == "crag_benchmark" and case["url"] for case in rule["for"])
    with pytest.raises(DataError, match="Did you mean 'changing-facts'"):
        explain_rule("changing-fact")


def test_prediction_round_trip(project) -> None:
    path = project / "made" / "prediction.json"
    write_prediction(advise({"task": "qa", "external_facts": "essential"}), path)
    assert read_prediction(path)["recommendation"] == "rag"


@pytest.mark.parametrize("text", [
    "{", "[]", '{"recommendation": "guess", "decided": true}',
    '{"recommendation": ["rag"], "decided": true}', '{"recommendation": "rag"}',
    '{"recommendation": "rag", "decided": true, "reasons": 5}',
    '{"recommendation": "rag", "decided": true, "reasons": [{"because": []}]}',
    '{"recommendation": "rag", "decided": true, "reasons": [{"statement": "x", "because": 5}]}',
    '{"recommendation": "rag", "decided": true, "confidence": "high"}',
    '{"recommendation": "rag", "decided": true, "scenario": []}'])
def test_damaged_prediction_is_one_line(project, text) -> None:
    path = project / "p.json"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_prediction(path)
    assert os.linesep not in str(error.value)


@pytest.mark.parametrize("more", ["", ', "reasons": [{"statement": "x"}], "confidence": 1',
                                  ', "reasons": null, "scenario": null'])
def test_a_prediction_by_another_hand_may_lack_what_it_can(project, more) -> None:
    path = project / "p.json"
    path.write_text('{"recommendation": "rag", "decided": true' + more + "}")
    assert read_prediction(path)["recommendation"] == "rag"
