"""Measures of sets of answers, the part of form, and harm: against figures made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from phi3kit.compare.diagnosis import diagnose
from phi3kit.compare.form import form_shares
from phi3kit.compare.harm import harms
from phi3kit.compare.intervals import Method
from phi3kit.compare.sets import macro_f1
from phi3kit.compare.similarity import with_similarity
from phi3kit.records import Row
from three_documents import Words

METHOD = Method(0.95, 1000, 0)
HOW = {"confidence": 0.95, "resamples": 1000, "seed": 0}


def row(arm: str, number: int, output: str = "", gold: str = "x", **metrics: float) -> Row:
    return Row(arm=arm, question_id=f"q{number}", kind="k", cluster=f"d{number}.md",
               question="?", gold=(gold,) if gold else (), output=output, abstained=False,
               citations=(), removed_citations=(), passages=(), sources=(), tokens_in=1,
               tokens_out=1, seconds=1.0, metrics=metrics)


def labelled(pairs: list[tuple[str, str]]) -> list[Row]:
    return [row("base", i, output, gold, label_accuracy=float(output == gold))
            for i, (output, gold) in enumerate(pairs)]


def test_macro_f1_counts_rare_labels_like_frequent_ones() -> None:
    # pump: 8 right of 8, 2 given too often: F1 = 16/18. gate: 0 of 2 right.
    rows = labelled([("pump", "pump")] * 8 + [("pump", "gate")] * 2)
    found = macro_f1(rows, **HOW)
    assert found is not None
    assert found.mean == pytest.approx((16 / 18 + 0) / 2)
    assert 0.3 < found.low < found.mean < found.high <= 1
    assert macro_f1(rows, **HOW) == found


def test_macro_f1_agrees_with_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    import random

    draw = random.Random(4)
    pairs = [(draw.choice("abcdz"), draw.choice("abcd")) for _ in range(60)]
    pairs = [(f"label {o}", f"label {g}") for o, g in pairs]
    found = macro_f1(labelled(pairs), **HOW)
    assert found is not None
    assert found.mean == pytest.approx(sklearn.f1_score(
        [g for _, g in pairs], [o for o, _ in pairs], average="macro",
        labels=sorted({g for _, g in pairs}), zero_division=0))


def test_macro_f1_needs_labels_and_documents() -> None:
    assert macro_f1([row("base", 1)], **HOW) is None
    one = macro_f1(labelled([("pump", "pump")]), **HOW)
    assert one is not None
    assert (one.low, one.high) == (0, 1)


def test_errors_and_abstentions_are_no_label() -> None:
    rows = labelled([("pump", "pump"), ("pump", "gate")])
    failed = [rows[0], replace(rows[1], output="", error="gone")]
    found, given = macro_f1(failed, **HOW), macro_f1(rows, **HOW)
    assert found is not None
    assert given is not None
    assert (found.mean, given.mean) == (0.5, pytest.approx((2 / 3) / 2))


def scored(arm: str, token_f1: float, span_f1: float, contains: float) -> list[Row]:
    return [row(arm, i, token_f1=token_f1, span_f1=span_f1, contains=contains, score=token_f1)
            for i in range(12)]


def test_a_lead_of_form_alone() -> None:
    found, = form_shares([*scored("rag", 0.2, 1, 1), *scored("finetune", 0.8, 1, 1)], METHOD)
    assert (found.a, found.b, found.share) == ("finetune", "rag", 1)
    assert found.lead.mean == pytest.approx(0.6)
    assert found.without_form.mean == 0
    assert found.form.mean == pytest.approx(0.6)
    assert "100% of that is form" in found.sentence
    assert "about as often" in found.sentence


def test_a_lead_of_knowledge_and_none() -> None:
    knows, behind = form_shares(
        [*scored("base", 0.1, 0.1, 0), *scored("rag", 0.9, 1, 1), *scored("both", 0.8, 0.9, 1)],
        METHOD)
    assert (knows.b, knows.share) == ("base", 0)
    assert "none of that is form" in knows.sentence
    assert "more often too, by 1.00" in knows.sentence
    assert (behind.b, behind.share) == ("rag", None)
    assert "does not lead rag" in behind.sentence


@pytest.mark.parametrize(("oracle", "finding", "says"), [
    (0.9, "mend_retrieval", "from 0.50 to 0.90: mending the retrieval is worth up to 0.40"),
    (0.5, "unclear", "do not tell apart"), (0.2, "oracle_behind", "do worse (0.20)")])
def test_the_oracle_tells_what_retrieval_is_worth(oracle: float, finding: str,
                                                  says: str) -> None:
    rows = [*scored("rag", 0.5, 1, 1), *scored("oracle-rag", oracle, 1, 1)]
    found, = diagnose(rows, "score", METHOD)
    assert (found.arm, found.against, found.finding) == ("oracle-rag", "rag", finding)
    assert says in found.sentence


def test_an_oracle_that_fails_speaks_for_tuning() -> None:
    rows = [*scored("rag", 0.3, 1, 1), *scored("oracle-rag", 0.3, 1, 1), *scored("both", 0.8, 1, 1)]
    assert [d.finding for d in diagnose(rows, "score", METHOD)] == ["unclear", "tuning"]


def test_harm_is_what_was_known_and_is_gone() -> None:
    general = [row("base", i, contains=float(i < 8)) for i in range(10)]
    general += [row("finetune", i, contains=float(i < 6 or i == 9)) for i in range(10)]
    held = [row("finetune", i, gold="", abstention_recall=float(i < 1)) for i in range(4)]
    base, tuned = harms(held, general, ["base", "finetune"], METHOD)
    assert (base.known, base.forgotten) == (8, None)
    assert tuned.forgotten is not None
    assert tuned.forgotten.mean == pytest.approx(2 / 8)
    assert tuned.answered_unanswerable is not None
    assert tuned.answered_unanswerable.mean == pytest.approx(3 / 4)
    assert tuned.fabricated_citations is None


def test_harm_without_general_questions() -> None:
    found, = harms([row("rag", 1, fabricated_citations=1.0)], (), ["rag"], METHOD)
    assert (found.known, found.forgotten) == (0, None)
    assert found.fabricated_citations is not None
    assert found.fabricated_citations.mean == 1


def test_similarity_is_the_best_over_the_gold_answers() -> None:
    rows = [replace(row("base", 1, "marine grease."), gold=("oil", "marine grease")),
            replace(row("base", 2, "x"), abstained=True), row("base", 3, gold=""),
            replace(row("base", 4), error="gone")]
    found = [r.metrics.get("similarity") for r in with_similarity(rows, Words())]  # type: ignore[arg-type]
    assert found == [pytest.approx(1), 0, None, None]
