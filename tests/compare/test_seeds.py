"""Training seeds as a source of variance: averages, parts of a variance, what they widen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from phi3kit.compare.intervals import Method, cluster_part, interval
from phi3kit.compare.needed import needs_seeds, questions_needed, reach_with_seeds
from phi3kit.compare.results import analyse
from phi3kit.compare.seeds import (
    Part,
    averaged,
    p_value,
    parts,
    quantile,
    shifts,
    training_seeds,
)
from phi3kit.compare.statistics import paired_p, sign_flip_p
from phi3kit.compare.verdict import decide
from phi3kit.records import Comparison, Difference, Interval, Row, Spread, TrainingSeeds
from phi3kit.report.comparison_text import findings
from phi3kit.settings import CompareSettings

METHOD = Method(confidence=0.95, resamples=1000, seed=0)


def row(arm: str, number: int, value: float, seed: int = 0, output: str = "x",
        **metrics: float) -> Row:
    return Row(arm=arm, question_id=f"q{number}", kind="fact", cluster=f"d{number // 2}",
               question="?", gold=("x",), output=output, abstained=False, citations=(),
               removed_citations=(), passages=(), sources=(), tokens_in=1, tokens_out=1,
               seconds=1.0 + seed, metrics={"score": value, **metrics}, seed=seed)


def seeded(arm: str, *means: float, adapters: Sequence[str] = ()) -> TrainingSeeds:
    names = tuple(adapters) or tuple(f"{arm}{place}" for place in range(len(means)))
    return TrainingSeeds(arm, names, {"score": means})


def test_scores_are_averaged_and_the_rest_is_the_first_adapters() -> None:
    rows = [row("both", 1, 0.2, 1, "second", citation_precision=0.5),
            row("both", 1, 0.8, 0, "first"), row("both", 2, 0.4, 0), row("both", 2, 0.0, 1)]
    one, two = averaged(rows)
    assert one.metrics == {"score": 0.5, "citation_precision": 0.5}
    assert (one.output, one.seconds, one.seed, two.metrics["score"]) == ("first", 1.0, 0, 0.2)
    alone = (row("base", 1, 0.3), row("base", 2, 0.1))
    assert averaged(alone) == alone


def test_one_seed_tells_nothing_of_seeds() -> None:
    assert training_seeds([row("finetune", n, 0.5) for n in range(4)]) == ()
    assert parts((), [("finetune", "score", 1.0)]) == ()


def test_a_seeds_part_is_the_variance_of_the_mean_over_seeds() -> None:
    rows = [row("finetune", n, value, seed) for seed, value in enumerate((0.3, 0.5, 0.4))
            for n in range(4)]
    part, = parts(training_seeds(rows), [("finetune", "score", 1.0)])
    assert part.variance == pytest.approx(np.var([0.3, 0.5, 0.4], ddof=1) / 3)
    assert part.degrees == 2


def test_arms_with_the_same_adapters_are_paired_by_seed_and_others_are_not() -> None:
    terms = [("both", "score", 1.0), ("finetune", "score", -1.0)]
    same = ("a", "b", "c")
    part, = parts([seeded("finetune", 0.2, 0.3, 0.4, adapters=same),
                   seeded("both", 0.5, 0.6, 0.7, adapters=same)], terms)
    assert part.variance == pytest.approx(0.0, abs=1e-12)
    apart = parts([seeded("finetune", 0.2, 0.3, 0.4), seeded("both", 0.5, 0.6, 0.7)], terms)
    assert [each.variance for each in apart] == pytest.approx([0.01 / 3, 0.01 / 3])


def test_the_quantile_lies_between_those_of_the_parts_by_their_weight() -> None:
    many, few = Part(0.03, 29.0), Part(0.01, 2.0)
    t_many, t_few = stats.t.isf(0.025, [29, 2])
    assert quantile([many, few], 0.025) == pytest.approx(0.75 * t_many + 0.25 * t_few)
    assert quantile([many, Part(0.0, 2.0)], 0.025) == pytest.approx(t_many)
    assert p_value(0.3, [many]) == pytest.approx(2 * stats.t.sf(0.3 / math.sqrt(0.03), 29))
    p = p_value(0.5, [many, few])
    assert quantile([many, few], p / 2) == pytest.approx(0.5 / 0.2)
    assert p_value(0.0, [many, few]) == 1.0


def test_the_clustered_variance_is_the_textbook_one_where_clusters_are_alike() -> None:
    values = np.random.default_rng(0).normal(size=(12, 3))
    part = cluster_part([(f"d{place}", float(v)) for place, own in enumerate(values) for v in own])
    assert part.variance == pytest.approx(np.var(values.mean(axis=1), ddof=1) / 12)
    assert part.degrees == pytest.approx(11)


def test_seeds_widen_the_interval_and_raise_the_p_value() -> None:
    draw = np.random.default_rng(2)
    values = [(f"d{n // 2}", float(v)) for n, v in enumerate(draw.normal(0.2, 0.2, 40))]
    alone = interval(values, METHOD, bounds=(-1.0, 1.0))
    assert interval(values, METHOD, bounds=(-1.0, 1.0), seeds=[Part(0.0, 2.0)]) == alone
    own = cluster_part(values)
    added = [Part(own.variance, 2.0)]
    wide = interval(values, METHOD, bounds=(-1.0, 1.0), seeds=added)
    more = (math.sqrt(2) * (stats.t.isf(0.025, own.degrees) + stats.t.isf(0.025, 2)) / 2
            / stats.t.isf(0.025, own.degrees))
    assert wide.mean == alone.mean
    assert (wide.high - wide.mean) / (alone.high - alone.mean) == pytest.approx(more)
    assert (wide.mean - wide.low) / (alone.mean - alone.low) == pytest.approx(more)
    assert paired_p(values, METHOD) == sign_flip_p(values, METHOD) < 0.01
    assert paired_p(values, METHOD, added) > 0.01
    far = interval(values, METHOD, bounds=(-1.0, 1.0), seeds=[Part(1.0, 1.0)])
    assert (far.low, far.high) == (-1.0, 1.0)


def test_documents_that_are_all_alike_leave_the_seeds_doubt() -> None:
    values = [(f"d{n}", 0.5) for n in range(10)]
    found = interval(values, METHOD, seeds=[Part(0.0001, 2.0)])
    reach = 0.01 * stats.t.isf(0.025, 2)
    assert (found.low, found.high) == pytest.approx((0.5 - reach, 0.5 + reach))


def test_other_seeds_are_drawn_with_the_variance_that_they_had() -> None:
    found = shifts([seeded("finetune", 0.2, 0.3, 0.4, 0.6, 0.1, 0.3, 0.5, 0.2)],
                   ["base", "finetune"], "score", 20_000, np.random.default_rng(0))
    error = math.sqrt(np.var([0.2, 0.3, 0.4, 0.6, 0.1, 0.3, 0.5, 0.2], ddof=1) / 8)
    assert not found[:, 0].any()
    assert np.quantile(found[:, 1], 0.9) == pytest.approx(error * stats.t.isf(0.1, 7), rel=0.05)
    same = ("a", "b")
    together = shifts([seeded("finetune", 0.2, 0.4, adapters=same),
                       seeded("both", 0.6, 0.8, adapters=same)], ["finetune", "both"], "score", 50,
                      np.random.default_rng(0))
    assert together[:, 0] == pytest.approx(together[:, 1])


def compared(by_seed: Mapping[int, float], rag: float, *,
             adapters: Mapping[str, Sequence[str]] | None = None) -> Comparison:
    """rag against finetune, whose every answer has its seed's score, on 30 questions."""
    draw = np.random.default_rng(1)
    noise = draw.normal(0, 0.05, 30)
    rows = [row("rag", n, rag + noise[n]) for n in range(30)]
    rows += [row("finetune", n, score - noise[n], seed, output=f"of seed {seed}")
             for seed, score in by_seed.items() for n in range(30)]
    return analyse(rows, ("rag", "finetune"), CompareSettings(resamples=1000), run=Path("run"),
                   conditions={}, adapters=adapters)


def said(comparison: Comparison) -> str:
    return " ".join(line for _, lines in findings(comparison) for line in lines)


def test_a_lead_that_only_some_seeds_have_is_not_decided() -> None:
    one = compared({0: 0.6}, 0.4)
    assert one.verdict.winner == "finetune"
    assert "finetune answered with one training seed" in said(one)
    three = compared({0: 0.6, 1: 0.45, 2: 0.3}, 0.4)
    assert three.verdict.winner is None
    found, = three.differences
    assert found.difference.low < 0 < found.difference.high
    assert found.spread is not None
    assert found.spread.seeds == pytest.approx(0.15 / math.sqrt(3), rel=0.01)
    assert three.verdict.questions_needed is None
    assert "more questions alone would not tell" in three.verdict.sentence
    words = said(three)
    assert "finetune: 0.60, 0.45, 0.30 over 3 training seeds; the seeds make 9" in words
    assert "More training seeds: they make 9" in words
    assert "documents and the training seeds drawn again" in words
    assert 0.2 < three.likely_best["rag"] < 0.6
    assert {each.output for each in three.rows if each.arm == "finetune"} == {"of seed 0"}


def test_seeds_that_agree_leave_the_verdict() -> None:
    three = compared({0: 0.6, 1: 0.61, 2: 0.59}, 0.4)
    assert three.verdict.winner == "finetune"
    assert three.arms[1].metrics["score"].mean == pytest.approx(0.6, abs=0.02)
    assert three.arms[1].questions == 30


def test_questions_shrink_the_documents_part_only() -> None:
    def lead(mean: float, documents: float, seeds: float) -> Difference:
        return Difference("a", "b", Interval(mean, mean - 1, mean + 1), 0.5,
                          Spread(documents, seeds, 2.0))

    how = {"questions": 40, "clusters": 20, "pairs": 1, "confidence": 0.95}
    few, more = (questions_needed(lead(0.2, 0.1, seeds), **how) for seeds in (0.001, 0.02))
    assert few is not None
    assert more is not None
    assert 40 < few < more
    spread = Spread(0.1 * math.sqrt(40 / more), 0.02, 2.0)
    assert reach_with_seeds(spread, more // 2, pairs=1, confidence=0.95) <= 0.2
    hopeless = lead(0.2, 0.1, 0.1)
    assert questions_needed(hopeless, **how) is None
    assert needs_seeds(hopeless, pairs=1, confidence=0.95)
    assert not needs_seeds(lead(0.2, 0.1, 0.02), pairs=1, confidence=0.95)


def test_a_verdict_by_questions_says_so_when_seeds_are_not_the_matter() -> None:
    three = compared({0: 0.42, 1: 0.42, 2: 0.42}, 0.415)
    again = decide(three.arms, three.differences, metric="score", confidence=0.95, clusters=15)
    assert "seed" not in again.sentence
