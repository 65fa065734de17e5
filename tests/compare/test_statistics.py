"""Intervals, tests and verdicts on data whose answer is known."""

from __future__ import annotations

import random

import pytest

from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.needed import documents_needed, questions_needed
from phi3kit.compare.sentence import signed
from phi3kit.compare.statistics import differences, sign_flip_p, summarise
from phi3kit.compare.verdict import decide
from phi3kit.records import ArmSummary, Difference, Interval, Row, Verdict

METHOD = Method(confidence=0.95, resamples=2000, seed=0)


def row(arm: str, number: int, value: float, cluster: str | None = None) -> Row:
    return Row(arm=arm, question_id=f"q{number}", kind="fact" if number % 2 else "label",
               cluster=cluster or f"d{number // 3}", question="?", gold=("x",), output="x",
               abstained=False, citations=(), removed_citations=(), passages=(), sources=(),
               tokens_in=10, tokens_out=2, seconds=number / 10, metrics={"score": value})


def arms_of(rates: dict[str, float], questions: int, seed: int = 0) -> list[Row]:
    """Right-or-wrong answers; the better arm is right wherever the worse one is, mostly."""
    draw = random.Random(seed)
    luck = [draw.random() for _ in range(questions)]
    return [row(arm, i, float(luck[i] * 0.7 + draw.random() * 0.3 < rate))
            for arm, rate in rates.items() for i in range(questions)]


def judge(rows: list[Row], prediction: str | None = None) -> Verdict:
    arms = list(dict.fromkeys(r.arm for r in rows))
    summaries = [summarise(a, [r for r in rows if r.arm == a], "score", METHOD) for a in arms]
    return decide(summaries, differences(rows, arms, "score", METHOD), metric="score",
                  confidence=0.95, clusters=len({r.cluster for r in rows}),
                  prediction=prediction)  # type: ignore[arg-type]


def test_a_mean_lies_in_its_interval_and_more_questions_narrow_it() -> None:
    few = interval([(f"d{i}", float(i % 2)) for i in range(10)], METHOD)
    many = interval([(f"d{i}", float(i % 2)) for i in range(200)], METHOD)
    assert few.low < few.mean == many.mean == 0.5 < few.high
    assert many.high - many.low < (few.high - few.low) / 3


def test_questions_about_one_document_are_not_independent() -> None:
    alone = interval([(f"d{i}", float(i % 4 < 2)) for i in range(80)], METHOD)
    together = interval([(f"d{i // 10}", float(i // 10 % 4 < 2)) for i in range(80)], METHOD)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_clusters_weigh_by_their_questions() -> None:
    assert interval([("a", 1.0), ("b", 0.0), ("b", 0.0), ("b", 0.0)], METHOD).mean == 0.25


def test_one_document_shows_nothing() -> None:
    assert interval([("d", 1.0)] * 50, METHOD) == Interval(1.0, 0.0, 1.0)
    assert sign_flip_p([("d", 1.0)] * 50, METHOD) == 1.0


def test_sign_flip_is_exact_for_few_documents() -> None:
    # Of the 2^5 sign patterns, only all plus and all minus are as extreme.
    assert sign_flip_p([(f"d{i}", 1.0) for i in range(5)], METHOD) == pytest.approx(2 / 32)
    assert sign_flip_p([(f"d{i}", 0.0) for i in range(5)], METHOD) == 1.0


def test_of_flips_as_extreme_as_what_was_seen_half_count() -> None:
    """One yes/no question a document: McNemar's mid-p value, from the binomial distribution."""
    values = [(f"d{i}", sign) for i, sign in enumerate([1.0] * 8 + [-1.0] * 2 + [0.0] * 4)]
    exact = sign_flip_p(values, Method(0.95, 2 ** 14, 0))
    assert exact == pytest.approx(2 * (1 + 10 + 45 / 2) / 2 ** 10)
    assert sign_flip_p(values, Method(0.95, 10_000, 0)) == pytest.approx(exact, abs=0.01)
    assert sign_flip_p([(d, v / 1e6) for d, v in values], Method(0.95, 2 ** 14, 0)) == exact


def test_a_sum_is_judged_by_how_far_the_documents_agree() -> None:
    # Both sum to 6: of one document's questions all are lost, or one of each of two documents.
    few = [(f"d{i}", 1.0) for i in range(8)]
    one = [*few, *[("a", -1.0)] * 2, *[("b", 0.0)] * 2]
    two = [*few, ("a", -1.0), ("a", 0.0), ("b", -1.0), ("b", 0.0)]
    assert sum(v for _, v in one) == sum(v for _, v in two)
    assert sign_flip_p(two, METHOD) < sign_flip_p(one, METHOD)


def test_random_flips_never_make_a_p_value_of_zero() -> None:
    values = [(f"d{i}", 1.0) for i in range(30)]
    assert 0 < sign_flip_p(values, METHOD) <= 1 / METHOD.resamples


def test_a_document_with_most_questions_makes_the_interval_wider() -> None:
    """The mean and the documents' share of it stay; only their sizes differ."""
    def width(sizes: list[int]) -> float:
        found = interval([(f"d{d}", float(n % 2)) for d, size in enumerate(sizes)
                          for n in range(size)], METHOD)
        return found.high - found.low

    assert width([2, 4, 6, 8] * 3) == 0.0, "each document has the same mean"
    values = [(f"d{i}", float(i % 2)) for i in range(20)]
    even = interval(values, METHOD)
    uneven = interval(values + [("d0", 0.0), ("d1", 1.0)] * 6, METHOD)
    assert uneven.mean == even.mean == 0.5
    assert uneven.high - uneven.low > 1.2 * (even.high - even.low)
    lopsided = interval([("d0", 0.0)] * 98 + [("d1", 1.0), ("d2", 1.0)], METHOD)
    assert (lopsided.low, lopsided.high) == (0.0, 1.0), "all that drawing again can give"


def test_same_seed_same_numbers() -> None:
    values = [(f"d{i % 7}", (i * 37 % 11) / 10) for i in range(40)]
    assert interval(values, METHOD) == interval(values, METHOD)
    assert interval(values, Method(0.95, 2000, 1)) != interval(values, METHOD)
    assert interval(values, Method(0.95, 3000, 0)) != interval(values, METHOD)
    assert interval(values, Method(0.5, 2000, 0)).high < interval(values, METHOD).high


def test_holm_makes_p_values_larger() -> None:
    rows = arms_of({"base": 0.3, "rag": 0.6, "finetune": 0.5}, 60)
    adjusted = {(d.a, d.b): d.p for d in differences(rows, ["base", "rag", "finetune"], "score",
                                                     METHOD)}
    alone = {(d.a, d.b): d.p for d in differences(rows, ["base", "finetune"], "score", METHOD)}
    assert adjusted["base", "finetune"] >= alone["base", "finetune"]


def test_a_clear_winner_is_named() -> None:
    rows = arms_of({"base": 0.1, "rag": 0.9, "finetune": 0.3, "both": 0.2}, 120)
    verdict = judge(rows, prediction="rag")
    assert (verdict.winner, verdict.contenders, verdict.outcome) == ("rag", ("rag",), "confirmed")
    assert verdict.sentence.startswith("rag wins with 0.9")
    assert verdict.questions_needed is None
    assert judge(rows, prediction="both").outcome == "refuted"


def test_a_tie_is_not_decidable() -> None:
    rows = arms_of({"base": 0.1, "rag": 0.8, "both": 0.8}, 90, seed=3)
    verdict = judge(rows, prediction="rag")
    assert verdict.winner is None
    assert set(verdict.contenders) == {"rag", "both"}
    assert verdict.outcome == "undecided"
    assert verdict.sentence.startswith("Not decidable yet")
    assert judge(rows, prediction="base").outcome == "refuted"
    assert judge(rows).outcome is None
    assert judge(rows, prediction="finetune").outcome == "undecided"


def test_equal_arms_are_hopeless_not_settled_by_more_questions() -> None:
    rows = [row(arm, i, float(i % 2)) for arm in ("base", "rag") for i in range(60)]
    verdict = judge(rows)
    assert (verdict.winner, verdict.questions_needed) == (None, None)
    assert "more questions would hardly tell" in verdict.sentence


def test_few_documents_never_decide() -> None:
    rows = [row(arm, i, value, cluster=f"d{i % 4}")
            for arm, value in (("base", 0.0), ("rag", 1.0)) for i in range(40)]
    verdict = judge(rows)
    assert verdict.winner is None
    assert "about 4 independent documents, and below 6" in verdict.sentence


@pytest.mark.parametrize(("pairs", "documents"), [(1, 6), (6, 8)])
def test_documents_needed_is_the_fewest_that_could_pass(pairs: int, documents: int) -> None:
    assert documents_needed(pairs, 0.95) == documents
    assert pairs * 2 / 2 ** documents < 0.05 <= pairs * 2 / 2 ** (documents - 1)


def test_questions_needed_shrinks_with_the_difference() -> None:
    def needed(mean: float) -> int | None:
        item = Difference("a", "b", Interval(mean, mean - 0.1, mean + 0.1), 0.5)
        return questions_needed(item, questions=150, clusters=60, pairs=6, confidence=0.95)

    large, small = needed(0.05), needed(0.025)
    assert large is not None and small is not None
    assert small == pytest.approx(4 * large, rel=0.015)
    # By hand: (t(0.05 / 12) + t(0.2)) = 2.656 + 0.843, standard error 0.1 / 2.001.
    assert large == pytest.approx(150 * (3.499 * 0.1 / 2.001 / 0.05) ** 2, rel=0.01)
    assert needed(0.001) is None
    assert needed(0.0) is None


def test_a_summary_holds_what_was_measured() -> None:
    rows = [row("rag", i, float(i % 2)) for i in range(1, 21)]
    found = summarise("rag", rows, "score", METHOD)
    assert isinstance(found, ArmSummary)
    assert found.by_kind == {"fact": 1.0, "label": 0.0}
    assert (found.tokens_in, found.tokens_out) == (200, 40)
    assert (found.latency_p50, found.latency_p95) == (1.0, 1.9)
    assert set(found.metrics) == {"score"}


def test_signed_never_says_minus_zero() -> None:
    assert [signed(v) for v in (-0.001, 0.1, -0.1)] == ["0.00", "0.10", "−0.10"]
