"""The choice by weights on rows whose parts are known by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from finished_comparison import finished
from phi3kit.compare import run as room
from phi3kit.compare.choice import as_text, choose, read_weights, with_choice
from phi3kit.compare.results import analyse, load_comparison
from phi3kit.compare.run import compare
from phi3kit.errors import SettingsError
from phi3kit.records import ArmCost, Comparison, Costs, FreshArm, Freshness, Interval, Row
from phi3kit.report.choice_text import decided, exit_code
from phi3kit.report.comparison_text import findings
from phi3kit.settings import CompareSettings, Settings


def answers(arm: str, worth: Sequence[float], *, seconds: float = 1.0, tokens: int = 100,
            cited: float | None = None, per_document: int = 1) -> list[Row]:
    """One row for each score; `cited`: precision of its citations, None where it reads nothing."""
    sourced = {} if cited is None else {"citation_recall": cited, "citation_precision": cited}
    return [Row(arm=arm, question_id=f"q{i}", kind="fact", cluster=f"d{i // per_document}",
                question="?", gold=("x",), output="x", abstained=False, citations=(),
                removed_citations=(), passages=(), sources=(), tokens_in=tokens - 1,
                tokens_out=1, seconds=seconds, metrics={
                    "score": value, "token_f1": value, "span_f1": value, "contains": value,
                    **sourced}) for i, value in enumerate(worth)]


def compared(*rows: list[Row], weights: Mapping[Any, float] | None = None,
             resamples: int = 1000) -> Comparison:
    flat = [row for arm in rows for row in arm]
    return analyse(flat, list(dict.fromkeys(row.arm for row in flat)),  # type: ignore[arg-type]
                   CompareSettings(resamples=resamples, weights=dict(weights or {})),
                   run=Path("run"), conditions={})


def around(mean: float, count: int = 24) -> list[float]:
    """Scores that alternate about a mean."""
    return [mean + (0.1 if i % 2 else -0.1) for i in range(count)]


def standing(comparison: Comparison, arm: str) -> Any:
    assert comparison.choice is not None
    return next(s for s in comparison.choice.standings if s.arm == arm)


TWO = (answers("base", around(0.4)), answers("rag", around(0.8), seconds=2.0, tokens=400,
                                             cited=0.5))


def test_the_parts_are_those_of_the_answers() -> None:
    found = with_choice(compared(*TWO, weights={"quality": 2, "latency": 1, "cost": 1,
                                                "transparency": 1}))
    assert standing(found, "rag").parts == pytest.approx(
        {"quality": 0.8, "latency": 0.5, "cost": 0.25, "transparency": 0.5})
    assert standing(found, "base").parts == pytest.approx(
        {"quality": 0.4, "latency": 1.0, "cost": 1.0, "transparency": 0.0})
    assert standing(found, "rag").utility == pytest.approx((2 * 0.8 + 0.5 + 0.25 + 0.5) / 5)
    assert sum(found.choice.weights.values()) == pytest.approx(1)  # type: ignore[union-attr]


def test_latency_is_the_median_not_the_mean() -> None:
    slow_once = [dataclasses.replace(row, seconds=1000.0) if row.question_id == "q3" else row
                 for row in answers("rag", around(0.5), seconds=2.0)]
    found = choose(compared(answers("base", around(0.5)), slow_once), {"latency": 1})
    assert {s.arm: s.parts["latency"] for s in found.standings} == {"base": 1.0, "rag": 0.5}


def test_an_option_that_is_best_at_nothing_changes_no_others_part() -> None:
    weights = {"quality": 1, "latency": 1, "cost": 1}
    worst = answers("finetune", around(0.2), seconds=9.0, tokens=900)
    without = with_choice(compared(*TWO, weights=weights))
    beside = with_choice(compared(*TWO, worst, weights=weights))
    for arm in ("base", "rag"):
        assert standing(beside, arm).parts == standing(without, arm).parts


def test_weights_turn_the_choice() -> None:
    by_quality = choose(compared(*TWO), {"quality": 3, "latency": 1})
    assert by_quality.chosen == "rag"
    assert "quality 75%, latency 25%" in by_quality.sentence
    by_latency = choose(compared(*TWO), {"quality": 1, "latency": 3})
    assert by_latency.chosen == by_latency.standings[0].arm == "base"
    assert by_latency.standings[0].likely_best > 0.99


def test_where_the_lines_cross() -> None:
    # 0.8 (1 - s) + 0.5 s = 0.4 (1 - s) + s at s = 0.4 / 0.9.
    found = choose(compared(*TWO), {"quality": 3, "latency": 1})
    by_name = {switch.criterion: switch for switch in found.switches}
    assert by_name["latency"].at == pytest.approx(0.4 / 0.9)
    assert by_name["latency"].then == "base"
    assert by_name["latency"].sentence == (
        "rag stays ahead until latency weighs more than 0.44 of all (now 0.25); then base is.")
    assert by_name["quality"].at == pytest.approx(0.5 / 0.9)
    assert "quality weighs less than 0.56" in by_name["quality"].sentence


@pytest.mark.slow
def test_beyond_the_switch_the_other_is_ahead() -> None:
    draw = random.Random(3)
    crossed, four = 0, ("base", "rag", "finetune", "both")
    any_ = compared(*(answers(arm, around(0.5)) for arm in four))
    for _ in range(30):
        rows = [answers(arm, around(draw.random()), seconds=1 + draw.random(),
                        tokens=draw.randrange(50, 500))
                for arm in four]
        comparison = dataclasses.replace(any_, rows=tuple(itertools.chain(*rows)))
        weights = {"quality": draw.random(), "latency": draw.random(), "cost": draw.random()}
        found = choose(comparison, weights)  # type: ignore[arg-type]
        for switch in found.switches:
            step = 1e-4 if switch.at > switch.now else -1e-4
            rest = 1 - found.weights[switch.criterion]
            for share, leader in ((switch.at - step, found.standings[0].arm),
                                  (switch.at + step, switch.then)):
                moved = {name: share if name == switch.criterion
                         else weight * (1 - share) / rest
                         for name, weight in found.weights.items()}
                worth = {s.arm: sum(moved[n] * s.parts[n] for n in moved)
                         for s in found.standings}
                assert max(worth, key=worth.__getitem__) == leader
                crossed += 1
    assert crossed > 30


def test_a_lead_on_everything_has_no_switch() -> None:
    found = choose(compared(answers("base", around(0.3), seconds=2.0),
                            answers("rag", around(0.8))), {"quality": 1, "latency": 1})
    assert found.chosen == "rag"
    assert found.switches == ()


def test_a_lead_by_chance_is_not_decidable() -> None:
    draw = random.Random(0)
    noisy = [[draw.random() for _ in range(12)] for _ in range(2)]
    found = choose(compared(answers("base", noisy[0]), answers("rag", noisy[1])),
                   {"quality": 1, "latency": 0.1})
    assert found.chosen is None
    assert "not decidable" in found.sentence
    assert sum(s.likely_best for s in found.standings) == pytest.approx(1)


def test_one_document_decides_nothing() -> None:
    rows = [answers(arm, [worth] * 30, per_document=30) for arm, worth in
            (("base", 0.0), ("rag", 1.0))]
    assert choose(compared(*rows), {"quality": 1, "cost": 1}).chosen is None


def test_equal_options_are_chosen_seldom() -> None:
    """Two-sided at 95%: of 40 comparisons without a difference about 2 choose."""
    draw = random.Random(1)
    wrong, any_ = 0, compared(*TWO)
    for _ in range(40):
        rows = [answers(arm, [draw.random() for _ in range(20)], per_document=2)
                for arm in ("base", "rag")]
        again = dataclasses.replace(any_, rows=(*rows[0], *rows[1]))
        wrong += choose(again, {"quality": 2, "cost": 1}).chosen is not None
    assert wrong <= 6


def test_what_was_not_measured_is_left_out_and_said() -> None:
    found = choose(compared(*TWO), {"quality": 1, "freshness": 1, "latency": 1})
    assert found.weights == {"quality": 0.5, "latency": 0.5}
    assert found.left_out == ("freshness: it was not measured",)
    only = choose(compared(*TWO), {"freshness": 1})
    assert (only.chosen, only.standings, only.weights) == (None, (), {})


def test_with_quality_alone_left_the_verdict_stands() -> None:
    comparison = compared(*TWO)
    found = choose(comparison, {"quality": 1, "freshness": 1})
    assert found.chosen == comparison.verdict.winner == "rag"


def fresh(rag: Interval) -> Freshness:
    none = Interval(0.0, 0.0, 0.0)
    return Freshness(10, 5, (FreshArm("base", none, none, none),
                             FreshArm("rag", rag, none, none)), 5, 1.0, None, "")


def test_freshness_counts_with_its_own_uncertainty() -> None:
    even = compared(answers("base", around(0.5)), answers("rag", around(0.5)))
    sure, unsure = (choose(dataclasses.replace(even, freshness=fresh(seen)),
                           {"quality": 1, "freshness": 1})
                    for seen in (Interval(0.6, 0.5, 0.7), Interval(0.6, 0.0, 1.0)))
    assert sure.chosen == "rag"
    assert sure.standings[0].parts["freshness"] == 0.6
    assert unsure.standings[0].parts["freshness"] == 0.6
    assert unsure.standings[0].likely_best < sure.standings[0].likely_best


def test_a_months_costs_replace_tokens_where_all_are_known() -> None:
    def cost(arm: Any, monthly: float | None) -> ArmCost:
        return ArmCost(arm, 1, 1, 1.0, 1.0, 1.0, 0.5, monthly=monthly)

    comparison = compared(*TWO)
    known, partly = (dataclasses.replace(comparison, costs=Costs(
        (cost("base", 30.0), cost("rag", rag)), "EUR", 1.0, 1.0, 1.0)) for rag in (10.0, None))
    parts = {s.arm: s.parts["cost"] for s in choose(known, {"cost": 1}).standings}
    assert parts == pytest.approx({"base": 1 / 3, "rag": 1.0})
    parts = {s.arm: s.parts["cost"] for s in choose(partly, {"cost": 1}).standings}
    assert parts == pytest.approx({"base": 1.0, "rag": 0.25})
    assert choose(known, {"cost": 1}).notes == ()
    note, = choose(partly, {"cost": 1}).notes
    assert "counted in tokens" in note and "compare.questions_per_month" in note
    shown = dataclasses.replace(partly, choice=choose(partly, {"cost": 1}))
    assert note in dict(findings(shown))["What do the weights say?"]
    assert choose(partly, {"quality": 1, "latency": 1}).notes == ()


def test_same_seed_same_choice_in_one_piece_or_many(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(5)
    comparison = compared(answers("base", [draw.random() for _ in range(30)]),
                          answers("rag", [draw.random() for _ in range(30)]))
    whole = choose(comparison, {"quality": 2, "cost": 1})
    monkeypatch.setattr("phi3kit.compare.criteria._AT_ONCE", 60 * 7)
    assert choose(comparison, {"quality": 2, "cost": 1}) == whole


def test_quality_alone_changes_nothing() -> None:
    for weights in ({}, {"quality": 3.0}, {"quality": 1.0, "latency": 0.0}):
        found = with_choice(compared(*TWO, weights=weights))
        assert found.choice is None
        assert "weights" not in found.conditions


def test_weights_are_read_and_written() -> None:
    assert read_weights(" quality=2, latency = 1 ") == {"quality": 2.0, "latency": 1.0}
    assert as_text({"latency": 0.1 + 0.2, "quality": 2.0, "cost": 0.0}) == (
        "quality=2,latency=0.30000000000000004")
    assert read_weights(as_text({"latency": 1 / 3})) == {"latency": 1 / 3}


@pytest.mark.parametrize(("text", "says"), [
    ("speed=1", "'speed' is no criterion"),
    ("quality", "'' is no weight for quality"),
    ("quality=much", "'much' is no weight"),
    ("quality=1,quality=2", "'quality' stands twice"),
    ("quality=-1", "-1 is no weight"),
    ("quality=inf", "inf is no weight"),
    ("quality=nan", "nan is no weight"),
    ("quality=0", "nothing has a weight"),
    ("", "nothing has a weight"),
])
def test_weights_that_cannot_be_used(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=r"^--weights") as error:
        read_weights(text)
    assert says in str(error.value)


def test_a_comparison_read_again_is_chosen_from_again(tmp_path: Path) -> None:
    first = finished(tmp_path, {"base": around(0.4), "rag": around(0.8)},
                     seconds={"base": 1.0, "rag": 4.0},
                     compare={"weights": {"quality": 1.0, "latency": 3.0}})
    assert first.choice is not None
    assert (first.choice.chosen, first.verdict.winner) == ("base", "rag")
    record = json.loads((Path(first.run) / "result.json").read_text(encoding="utf-8"))
    assert "choice" not in record  # a clock decides its latency
    assert record["conditions"]["weights"] == "quality=1,latency=3"
    assert load_comparison(Path(first.run)) == first
    told = dict(findings(first))["What do the weights say?"]
    assert told[0] == first.choice.sentence
    assert any(line.startswith("base: 0.85 (quality 0.40, latency 1.00)") for line in told)
    assert any("stays ahead until" in line for line in told)
    assert (decided(first), exit_code(first)) == (True, 0)


def test_other_weights_ask_nothing_anew(settings: Settings,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    first = compare(settings)
    assert first.choice is None
    monkeypatch.setattr(room, "_open", lambda _: pytest.fail("a model was loaded"))
    weighed = compare(msgspec.structs.replace(settings, compare=msgspec.structs.replace(
        settings.compare, weights={"quality": 1.0, "cost": 1.0, "transparency": 2.0},
        gate=("rag hit_at_k >= 0.9", "both score <= base + 2"))))
    assert weighed.run == first.run
    assert weighed.verdict == first.verdict
    assert weighed.choice is not None
    by_arm = {s.arm: s.parts for s in weighed.choice.standings}
    assert by_arm.keys() == {"base", "rag", "finetune", "both"}
    assert by_arm["base"]["cost"] > by_arm["rag"]["cost"]  # passages are prompt tokens
    assert by_arm["base"]["transparency"] == by_arm["finetune"]["transparency"] == 0.0
    assert weighed.gates[1].outcome == "passed"
    assert load_comparison(Path(weighed.run)).choice == weighed.choice
