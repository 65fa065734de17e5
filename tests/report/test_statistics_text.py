"""What the statistics beside the verdict say in words, from finished comparisons."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from finished_comparison import finished
from phi3kit.compare.results import load_comparison
from phi3kit.records import Detectable, Discordance
from phi3kit.report.comparison_text import findings
from phi3kit.report.markdown import comparison_markdown
from phi3kit.report.statistics_text import (
    detectable_sentences,
    discordance_rows,
    effect_sentences,
    likely_best_sentences,
)

FOUR = {"base": [0.0, 0.1] * 6, "rag": [0.6, 0.4] * 6, "finetune": [0.1, 0.3] * 6,
        "both": [0.5, 0.6] * 6}


def test_all_of_it_is_kept_and_shown(tmp_path: Path) -> None:
    comparison = load_comparison(Path(finished(tmp_path, FOUR).run))
    assert [effect.name for effect in comparison.effects] == [
        "retrieval", "tuning", "interaction"]
    assert comparison.detectable is not None
    said = [line for _, sentences in findings(comparison) for line in sentences]
    for line in (*effect_sentences(comparison), *likely_best_sentences(comparison),
                 *detectable_sentences(comparison)):
        assert line in said
    assert "both is the best in" in likely_best_sentences(comparison)[0]
    assert "12 questions about 12 documents show a true lead of" in \
        detectable_sentences(comparison)[0]
    assert "Retrieving adds" in comparison_markdown(comparison)


def test_a_share_below_one_is_never_rounded_to_all(tmp_path: Path) -> None:
    comparison = dataclasses.replace(finished(tmp_path, FOUR),
                                     likely_best={"base": 0.0, "rag": 0.003, "both": 0.997})
    assert likely_best_sentences(comparison) == [
        "With the documents drawn again, both is the best in over 99% of the draws."]
    sure = dataclasses.replace(comparison, likely_best={"rag": 0.0, "both": 1.0})
    assert "both is the best in 100% of" in likely_best_sentences(sure)[0]


def test_what_was_not_found_is_not_said(tmp_path: Path) -> None:
    two = finished(tmp_path, {arm: FOUR[arm] for arm in ("base", "rag")})
    assert effect_sentences(two) == []
    bare = dataclasses.replace(two, likely_best={},
                               detectable=Detectable("rag", "base", None, 0.8))
    assert likely_best_sentences(bare) == detectable_sentences(bare) == []


def test_yes_or_no_is_counted_question_by_question(tmp_path: Path) -> None:
    comparison = finished(tmp_path, {arm: FOUR[arm] for arm in ("base", "rag")})
    assert comparison.discordances == ()
    assert "McNemar" not in comparison_markdown(comparison)
    counted = dataclasses.replace(comparison, discordances=(Discordance(
        "rag", "base", "exact_match", only_a=9, only_b=0, both=1, neither=2, p=0.00391),))
    assert discordance_rows(counted) == [
        ["exact match", "rag, base", "9", "0", "1", "2", "0.004"]]
    assert "| exact match | rag, base | 9 | 0 | 1 | 2 | 0.004 |" in comparison_markdown(counted)
