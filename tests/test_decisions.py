"""The decisions that are kept: complete, and every figure follows from the rows beside it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from phi3kit.compare.clusters import effective_groups
from phi3kit.compare.intervals import Method
from phi3kit.compare.results import load_comparison
from phi3kit.compare.statistics import differences, summarise
from phi3kit.compare.verdict import decide
from phi3kit.records import OPTIONS, as_json

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "data" / "decisions"
NAMES = sorted(path.parent.name for path in KEPT.glob("*/result.json"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("decisions", str(ROOT / "scripts/decisions"))
    spec = importlib.util.spec_from_loader("decisions", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["decisions"] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


def test_there_is_one_for_each_that_the_script_makes(script: ModuleType) -> None:
    assert sorted(script.DECISIONS) == NAMES
    assert len(NAMES) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_each_asks_every_option_the_same_questions(name: str) -> None:
    comparison = load_comparison(KEPT / name)
    asked = {arm: {row.question_id for row in comparison.rows if row.arm == arm}
             for arm in OPTIONS}
    assert len(asked["base"]) >= 30
    assert all(questions == asked["base"] for questions in asked.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_verdict_follows_from_the_rows(name: str) -> None:
    comparison = load_comparison(KEPT / name)
    conditions, kept = comparison.conditions, comparison.verdict
    method = Method(comparison.confidence, conditions["resamples"], conditions["seed"])
    arms = [summarise(arm.arm, [row for row in comparison.rows if row.arm == arm.arm],
                      kept.metric, method, comparison.seeds) for arm in comparison.arms]
    found = differences(comparison.rows, [arm.arm for arm in arms], kept.metric, method,
                        comparison.seeds)
    again = decide(arms, found, metric=kept.metric, confidence=comparison.confidence,
                   clusters=len({row.cluster for row in comparison.rows}),
                   effective=effective_groups(comparison.rows), prediction=kept.prediction,
                   margin=kept.margin)
    assert msgspec.json.encode(as_json(again)) == msgspec.json.encode(as_json(kept))
    assert found == comparison.differences


def test_the_table_says_what_is_kept(script: ModuleType) -> None:
    assert script.table() in (KEPT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_tells_where_it_was_made(name: str) -> None:
    for path in (KEPT / name).iterdir():
        text = path.read_text(encoding="utf-8")
        assert re.search(r"""["'` ]/\w+/""", text) is None  # no path but a relative one
    state = json.loads((KEPT / name / "run.json").read_text(encoding="utf-8"))
    assert state["status"] == "complete"
