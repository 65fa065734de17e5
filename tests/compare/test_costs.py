"""What arms cost: every figure against arithmetic by hand, and nothing where nothing is known."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3kit import settings as settings_module
from phi3kit.compare.break_even import Line, break_evens
from phi3kit.compare.costs import COSTS, costs_of, measure_costs, read_costs
from phi3kit.compare.usage import Measured, Used
from phi3kit.errors import RunError, SettingsError
from phi3kit.ingest.built import Built
from phi3kit.records import ArmCost, Costs, Row
from phi3kit.settings import CompareSettings, ModelSettings, Settings

ARMS = ("base", "rag", "finetune", "both")
TRAINING = {arm: {"seconds": 600.0, "peak_memory_bytes": 7} for arm in ("finetune", "both")}
BUILT = Built(chunks=40, seconds=60.0)
# Seconds and tokens per answer, and the scores, by arm.
SECONDS = {"base": 2.0, "rag": 4.0, "finetune": 1.0, "both": 3.0}
SCORES = {"base": (0.0, 0.0), "rag": (1.0, 0.5), "finetune": (1.0, 0.49), "both": (1.0, 1.0)}


def rows(seconds: dict[str, float] = SECONDS) -> list[Row]:
    return [Row(arm=arm, question_id=f"q{number}", kind="", cluster="d", question="?", gold=("y",),
                output="y", abstained=False, citations=(), removed_citations=(), passages=(),
                sources=(), tokens_in=100 if arm in ("rag", "both") else 20, tokens_out=5,
                seconds=seconds[arm] * (number + 0.5), metrics={"score": worth})
            for arm in ARMS for number, worth in enumerate(SCORES[arm])]


def costs(*, endpoint: str | None = None, measured: Measured | None = None,
          built: Built | None = BUILT, training: dict[str, Any] = TRAINING,
          arms: tuple[str, ...] = ARMS, **chosen: Any) -> Costs:
    chosen_settings = Settings(model=ModelSettings(endpoint=endpoint),
                               compare=CompareSettings(**chosen))
    return costs_of(rows(), arms, chosen_settings,  # type: ignore[arg-type]
                    measured=measured or Measured(), built=built,
                    training=training)  # type: ignore[arg-type]


def by_arm(found: Costs) -> dict[str, ArmCost]:
    return {arm.arm: arm for arm in found.arms}


def test_what_is_measured_of_the_rows() -> None:
    rag = by_arm(costs())["rag"]
    assert (rag.tokens_in, rag.tokens_out, rag.correct) == (100, 5, 1.0)
    assert (rag.latency_p50, rag.latency_p95, rag.answers_per_second) == (2.0, 6.0, 0.25)
    assert by_arm(costs())["finetune"].correct == 0.5


def test_what_an_arm_needs_is_what_it_is_charged() -> None:
    found = by_arm(costs())
    assert {a: c.index_seconds for a, c in found.items()} == {
        "base": None, "rag": 60.0, "finetune": None, "both": 60.0}
    assert {a: c.train_seconds for a, c in found.items()} == {
        "base": None, "rag": None, "finetune": 600.0, "both": 600.0}
    assert found["both"].train_memory_bytes == 7


def test_without_prices_a_month_is_machine_seconds() -> None:
    found = costs(questions_per_month=100, refreshes_per_month=2.0)
    assert found.unit == "machine seconds"
    assert {a: c.monthly for a, c in by_arm(found).items()} == {
        "base": 200.0, "rag": 400.0 + 120, "finetune": 100.0 + 1200, "both": 300.0 + 1320}
    assert {a: c.per_correct for a, c in by_arm(found).items()} == {
        "base": None, "rag": 5.2, "finetune": 13.0 / 0.5, "both": 16.2}


def test_an_hour_has_a_price() -> None:
    found = costs(questions_per_month=100, refreshes_per_month=2.0, price_per_hour=36.0,
                  currency="EUR")
    assert found.unit == "EUR"
    assert by_arm(found)["rag"].monthly == pytest.approx(5.2)
    assert by_arm(found)["rag"].per_correct == pytest.approx(0.052)


def test_tokens_have_a_price_when_a_server_answers() -> None:
    prices = {"price_per_million_tokens_in": 2.0, "price_per_million_tokens_out": 10.0,
              "questions_per_month": 1000}
    server = {"endpoint": "http://localhost:1/v1", "arms": ("base", "rag")}
    found = costs(**server, **prices)
    assert found.unit == "USD"
    assert by_arm(found)["base"].monthly == pytest.approx(0.04 + 0.05)
    assert by_arm(found)["rag"].monthly == pytest.approx(0.2 + 0.05)
    # A refresh is this machine's time, which has a price of its own.
    again = by_arm(costs(**server, **prices, refreshes_per_month=1.0))
    assert again["base"].monthly == pytest.approx(0.09)
    assert (again["rag"].monthly, again["rag"].per_correct) == (None, None)
    again = by_arm(costs(**server, **prices, refreshes_per_month=1.0, price_per_hour=60.0))
    assert again["rag"].monthly == pytest.approx(0.25 + 1.0)
    # One of the two prices alone: the other is nothing.
    only_out = by_arm(costs(**server, price_per_million_tokens_out=10.0,
                            questions_per_month=1000))
    assert only_out["rag"].monthly == pytest.approx(0.05)
    # No server: the tokens are made here, and cost time.
    assert costs(**prices).unit == "machine seconds"


def test_a_servers_time_is_what_was_waited() -> None:
    measured = Measured(arms={"base": Used(answers=4, seconds=2.0)})
    found = by_arm(costs(endpoint="http://localhost:1/v1", arms=("base", "rag"),
                         measured=measured, questions_per_month=100))
    assert (found["base"].answers_per_second, found["base"].monthly) == (2.0, 50.0)
    assert found["rag"].monthly == 400.0


def test_no_volume_no_month() -> None:
    found = by_arm(costs(refreshes_per_month=5.0))
    assert [cost.monthly for cost in found.values()] == [None] * 4
    assert found["rag"].per_correct == 4.0
    assert found["base"].per_correct is None


@pytest.mark.parametrize(("built", "training", "unknown"), [
    (None, TRAINING, {"rag", "both"}), (BUILT, {}, {"finetune", "both"}),
    (BUILT, {"both": TRAINING["both"]}, {"finetune"}), (BUILT, TRAINING, set())])
def test_what_is_not_known_is_not_reckoned_with(built: Built | None, training: dict[str, Any],
                                                unknown: set[str]) -> None:
    month = {"questions_per_month": 10, "built": built, "training": training}
    found = costs(**month, refreshes_per_month=1.0)
    assert {arm.arm for arm in found.arms if arm.monthly is None} == unknown
    assert {arm for p in found.break_evens for arm in (p.cheaper, p.dearer)} & unknown == set()
    assert ("not known" in " ".join(found.basis)) == bool(unknown)
    # Nothing is made anew: nothing has to be known.
    assert all(arm.monthly is not None for arm in costs(**month).arms)


def test_what_the_meter_saw() -> None:
    measured = Measured(1.5, {"rag": Used(4, 9.0, 1000, 60.0, "GPU"), "both": Used(4, 9.0, 900)})
    found = costs(measured=measured)
    assert found.load_seconds == 1.5
    arms = by_arm(found)
    assert (arms["rag"].memory_bytes, arms["rag"].energy_joules) == (1000, 15.0)
    assert (arms["both"].memory_bytes, arms["both"].energy_joules) == (900, None)
    assert (arms["base"].memory_bytes, arms["base"].energy_joules) == (None, None)
    assert any("GPU" in line for line in found.basis)
    assert not any("Energy" in line for line in costs().basis)


def test_a_search_that_another_arm_made_is_charged_all_the_same() -> None:
    measured = Measured(None, {"rag": Used(2, 1.0, searched=2, search_seconds=0.5),
                               "both": Used(2, 1.0), "base": Used(2, 1.0)})
    found = by_arm(costs(measured=measured, questions_per_month=4))
    assert found["rag"].monthly == 16.0
    assert found["both"].monthly == 12.0 + 4 * 0.25
    assert found["both"].latency_p50 == 1.5 + 0.25
    assert found["base"].monthly == 8.0


def test_an_arm_that_searched_more_than_once_is_spared_nothing() -> None:
    """For prompts that did not fit; and runs of before kept what was searched for twice."""
    measured = Measured(None, {"rag": Used(2, 1.0, searched=3, search_seconds=0.5)})
    assert by_arm(costs(measured=measured))["rag"].latency_p50 == 2.0


def test_lines_cross_where_arithmetic_says() -> None:
    found = costs(questions_per_month=100, refreshes_per_month=2.0)
    assert [(p.cheaper, p.dearer, p.questions) for p in found.break_evens] == [
        ("finetune", "rag", 360.0), ("finetune", "base", 1200.0), ("both", "rag", 1200.0)]
    assert found.break_evens[0].sentence.startswith(
        "From 360 questions a month on, finetune costs less than rag; of its answers 50% are")
    assert costs(questions_per_month=100).break_evens == ()


lines = st.builds(Line, st.just("base"), st.integers(0, 10**6), st.integers(0, 10**4),
                  st.floats(0, 1))


@given(st.lists(lines, min_size=2, max_size=4))
def test_the_cheaper_arm_is_cheaper_beyond_and_dearer_before(drawn: list[Line]) -> None:
    named = [dataclasses.replace(line, arm=arm)
             for arm, line in zip(ARMS, drawn, strict=False)]
    by = {line.arm: line for line in named}
    found = break_evens(named)
    assert [p.questions for p in found] == sorted(p.questions for p in found)
    for point in found:
        a, b = by[point.cheaper], by[point.dearer]
        assert point.questions > 0

        def gap(q: float, a: Line = a, b: Line = b) -> float:
            return (a.fixed + a.each * q) - (b.fixed + b.each * q)

        assert gap(point.questions) == pytest.approx(0, abs=1e-6 * (a.fixed + b.fixed + 1))
        assert gap(point.questions * 1.5) < 0 < gap(point.questions * 0.5)
    crossing = {frozenset((p.cheaper, p.dearer)) for p in found}
    for a, b in itertools.combinations(named, 2):  # no others cross
        if frozenset((a.arm, b.arm)) not in crossing:
            assert (a.fixed - b.fixed) * (a.each - b.each) >= 0


def test_settings_are_read(project: Path) -> None:
    (project / "phi3kit.yaml").write_text(
        "compare:\n  questions_per_month: 5000\n  refreshes_per_month: 0.5\n"
        "  price_per_hour: 1.2\n  currency: CHF\n", encoding="utf-8")
    values = settings_module.load().values.compare
    assert (values.questions_per_month, values.refreshes_per_month, values.price_per_hour,
            values.currency) == (5000, 0.5, 1.2, "CHF")


def test_a_run_folder_holds_its_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from phi3kit.compare import task as tasks
    from phi3kit.compare.tuned import Adapters

    monkeypatch.chdir(tmp_path)
    task = tasks.Task(Settings(compare=CompareSettings(questions_per_month=10)), ("base", "rag"),
                      (), Adapters({}), {})
    assert read_costs(tmp_path) is None
    found = measure_costs(task, rows(), tmp_path)
    assert read_costs(tmp_path) == found
    assert by_arm(found)["rag"].index_seconds is None
    (tmp_path / COSTS).write_text(msgspec.json.encode({"arms": 3}).decode())
    with pytest.raises(RunError, match=r"costs\.json cannot be read"):
        read_costs(tmp_path)


@pytest.mark.parametrize(("line", "said"), [
    ("questions_per_month: 0", "whole number >= 1"), ("refreshes_per_month: -1", "number >= 0"),
    ("price_per_hour: 0", "number > 0"), ("price_per_hour: .inf", "number <="),
    ("refreshes_per_month: .nan", "number >= 0"), ("currency: ''", "length >= 1"),
    ("price_per_million_tokens_in: -2", "number >= 0")])
def test_settings_have_bounds(project: Path, line: str, said: str) -> None:
    (project / "phi3kit.yaml").write_text(f"compare:\n  {line}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=said):
        settings_module.load()
