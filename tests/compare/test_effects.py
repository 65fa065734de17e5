"""Effects of retrieving and tuning on scores whose effects are known."""

from __future__ import annotations

import random

import pytest

from phi3kit.compare.effects import effects
from phi3kit.compare.intervals import Method
from phi3kit.records import Effect, Row

METHOD = Method(confidence=0.95, resamples=2000, seed=0)
OPTIONS = ("base", "rag", "finetune", "both")


def row(arm: str, number: int, value: float, cluster: str | None = None) -> Row:
    return Row(arm=arm, question_id=f"q{number}", kind="fact", cluster=cluster or f"d{number // 2}",
               question="?", gold=("x",), output="x", abstained=False, citations=(),
               removed_citations=(), passages=(), sources=(), tokens_in=1, tokens_out=1,
               seconds=1.0, metrics={"score": value})


def rows_of(levels: dict[str, float], questions: int = 60, noise: float = 0.1) -> list[Row]:
    draw = random.Random(0)
    hard = [draw.uniform(-0.3, 0.3) for _ in range(questions)]  # shared: pairing cancels it
    return [row(arm, i, level + hard[i] + draw.uniform(-noise, noise))
            for arm, level in levels.items() for i in range(questions)]


def found(levels: dict[str, float]) -> dict[str, Effect]:
    return {e.name: e for e in effects(rows_of(levels), "score", METHOD)}


def test_main_effects_average_over_the_other_factor() -> None:
    by_name = found({"base": 0.2, "rag": 0.5, "finetune": 0.3, "both": 0.6})
    for name, true in (("retrieval", 0.3), ("tuning", 0.1), ("interaction", 0.0)):
        seen = by_name[name].difference
        assert seen.mean == pytest.approx(true, abs=0.03)
        assert seen.low < seen.mean < seen.high
        assert seen.high - seen.low < 0.15
    assert by_name["retrieval"].p < 0.001
    assert by_name["interaction"].p > 0.05
    assert by_name["retrieval"].sentence.startswith("Retrieving adds 0.29 (95% interval 0.27 ")
    assert "not shown" in by_name["interaction"].sentence


@pytest.mark.parametrize(("both", "word", "why"), [
    (0.9, "more", "helps the other"), (0.5, "less", "does part of what the other does")])
def test_the_interaction_says_which_way(both: float, word: str, why: str) -> None:
    effect = found({"base": 0.2, "rag": 0.5, "finetune": 0.4, "both": both})["interaction"]
    assert effect.difference.mean == pytest.approx(both - 0.7, abs=0.05)
    assert effect.p < 0.001
    assert f"{word} than one by one" in effect.sentence
    assert why in effect.sentence
    assert "−" not in effect.sentence  # the direction is in the word


def test_what_harms_does_no_part_of_the_others_work() -> None:
    effect = found({"base": 0.1, "rag": 0.1, "finetune": 0.8, "both": 0.6})["interaction"]
    assert effect.p < 0.001
    assert effect.sentence.endswith("less than one by one: one stands in the other's way.")


def test_a_factor_that_harms_takes() -> None:
    effect = found({"base": 0.5, "rag": 0.2, "finetune": 0.5, "both": 0.2})["retrieval"]
    assert effect.difference.high < 0
    assert effect.sentence.startswith("Retrieving takes 0.3")


def test_without_all_four_options_there_is_none() -> None:
    rows = rows_of(dict.fromkeys(OPTIONS, 0.5))
    assert len(effects(rows, "score", METHOD)) == 3
    for left_out in OPTIONS:
        assert effects([r for r in rows if r.arm != left_out], "score", METHOD) == ()
    assert effects([r for r in rows if r is not rows[0]], "score", METHOD) == ()


def test_other_arms_change_nothing() -> None:
    rows = rows_of({"base": 0.2, "rag": 0.5, "finetune": 0.4, "both": 0.6})
    more = [*rows, *(row("oracle-rag", i, 1.0) for i in range(60))]
    assert effects(more, "score", METHOD) == effects(rows, "score", METHOD)


def test_one_document_shows_nothing() -> None:
    rows = [row(arm, i, float(arm == "rag"), cluster="d") for arm in OPTIONS for i in range(20)]
    for effect in effects(rows, "score", METHOD):
        limit = 2.0 if effect.name == "interaction" else 1.0
        assert (effect.difference.low, effect.difference.high) == (-limit, limit)
        assert effect.p == 1.0
