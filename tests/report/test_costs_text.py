"""What the arms cost, in words: figures as given, and silence on what was not measured."""

from __future__ import annotations

from typing import Any

import pytest

from phi3kit.records import ArmCost, BreakEven, Costs
from phi3kit.report.costs_table import cost_table
from phi3kit.report.costs_text import amount, cost_sentences, volume


def arm(name: Any, **more: Any) -> ArmCost:
    return ArmCost(name, 10.0, 2.0, 0.5, 0.9, 2.0, 0.5, **more)


def costs(*arms: ArmCost, questions: float | None = 10_000, refreshes: float | None = 2,
          **more: Any) -> Costs:
    return Costs(arms, "USD", questions, refreshes, more.pop("load", None), **more)


@pytest.mark.parametrize(("value", "said"), [
    (0.0, "0 USD"), (0.00009, "under 0.0001 USD"), (0.00012, "0.00012 USD"),
    (0.03123, "0.0312 USD"), (12.345, "12.3 USD"), (999.6, "1,000 USD"), (12_345.6, "12,346 USD")])
def test_amounts(value: float, said: str) -> None:
    assert amount(value, "USD") == said


@pytest.mark.parametrize(("questions", "refreshes", "said"), [
    (10_000, 2.0, "10,000 questions and 2 refreshes a month"),
    (10_000, 1.0, "10,000 questions and 1 refresh a month"),
    (10_000, 0.5, "10,000 questions and 0.5 refreshes a month"),
    (10_000, None, "10,000 questions a month"), (10_000, 0.0, "10,000 questions a month"),
    (None, 2.0, "")])
def test_volumes(questions: float | None, refreshes: float | None, said: str) -> None:
    assert volume(costs(questions=questions, refreshes=refreshes)) == said


def test_everything_that_is_known_is_said() -> None:
    found = cost_sentences(costs(
        arm("base", monthly=12.0, per_correct=0.5, memory_bytes=2**30, energy_joules=3.0),
        arm("finetune", monthly=9.0, per_correct=0.25, memory_bytes=3 * 2**30,
            train_seconds=600.0),
        load=3.21, basis=("On this.",),
        break_evens=(BreakEven("finetune", "base", 10.0, "From 10 on."),)))
    assert found == [
        "At 10,000 questions and 2 refreshes a month: base 12 USD, finetune 9 USD.",
        "A right answer costs: base 0.5 USD, finetune 0.25 USD.",
        "Loading takes 3.2 s.", "Answering peaks at 1.0 to 3.0 GiB.",
        "Training took: finetune 600 s.", "Energy per answer: base 3 J.",
        "From 10 on.", "On this."]


def test_what_is_not_known_is_not_said() -> None:
    assert cost_sentences(None) == []
    assert cost_sentences(costs(arm("base"), arm("rag"))) == []
    assert cost_sentences(costs(arm("base", per_correct=2.0), questions=None)) == [
        "A right answer costs, answering alone: base 2 USD."]


def test_long_times_are_no_powers_of_ten() -> None:
    """In the table and in the sentences."""
    caption, _, rows = cost_table(costs(
        ArmCost("base", 10.0, 2.0, 1234.5, 0.0349, 2.0, 0.5, index_seconds=1234.5), load=1234.5))
    assert "e+" not in caption + str(rows)
    told = dict(map(tuple, rows))  # type: ignore[arg-type]
    assert told["latency, median"] == told["index, built from nothing"] == "1,234 s"
    assert told["latency, 95th percentile"] == "0.035 s"
    assert cost_sentences(costs(arm("base"), load=1234.5)) == ["Loading takes 1,234 s."]
