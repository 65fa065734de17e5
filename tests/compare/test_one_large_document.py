"""With most questions about one document, what more of them would tell is not made small."""

from __future__ import annotations

import math
import random

import pytest

from phi3kit.compare.intervals import Method, cluster_part, effective_clusters
from phi3kit.compare.needed import clustered_error, questions_needed
from phi3kit.compare.power import detectable
from phi3kit.compare.statistics import between, differences, summarise
from phi3kit.compare.verdict import decide
from phi3kit.records import Difference, Interval, Row

METHOD = Method(0.95, 2000, 0)


def rows(large: int, others: int) -> list[Row]:
    """Yes/no answers of two arms; `large` questions about one document, the others about theirs."""
    dice = random.Random(3)
    return [Row(arm, f"q{i}", "", "handbook" if i < large else f"d{i}", "?", ("x",), "x", False,
                (), (), (), (), 1, 1, 0.1, {"score": float(dice.random() < share)})
            for arm, share in (("base", 0.35), ("rag", 0.45)) for i in range(large + others)]


@pytest.mark.parametrize(("large", "others"), [(80, 20), (60, 20), (100, 12)])
def test_more_questions_have_to_be_many_more(large: int, others: int) -> None:
    import numpy as np

    made, questions = rows(large, others), large + others
    found = differences(made, ("base", "rag"), "score", METHOD)
    arms = [summarise(arm, [r for r in made if r.arm == arm], "score", METHOD)
            for arm in ("base", "rag")]
    worth = effective_clusters(np.array([large, *[1] * others], dtype=float))
    pairs = [(a.cluster, a.metrics["score"] - b.metrics["score"])
             for a, b in zip(made[:questions], made[questions:], strict=True)]
    error = math.sqrt(cluster_part(pairs).variance)
    assert found[0].error == between("rag", "base", found).error == pytest.approx(error)
    told = decide(arms, found, metric="score", confidence=0.95, clusters=others + 1,
                  effective=worth)
    assert told.winner is None
    assert told.questions_needed is None or told.questions_needed > 1.3 * questions
    reach = detectable(arms, found, metric="score", confidence=0.95, clusters=others + 1,
                       effective=worth)
    # Hardly any lead that there can be, or none, would be shown four times in five.
    assert reach.difference is None or reach.difference > 0.8


def test_what_earlier_versions_kept_is_read_back_from_the_interval() -> None:
    kept = Difference("a", "b", Interval(0.1, -0.1, 0.3), 0.5)
    made = Difference("a", "b", Interval(0.1, -0.1, 0.3), 0.5, None, 0.02)
    assert kept == made  # the same difference, told in more detail
    assert clustered_error(made, clusters=20, confidence=0.95) == 0.02
    assert clustered_error(kept, clusters=20, confidence=0.95) == pytest.approx(0.2 / 2.093, 1e-3)


def test_documents_are_counted_as_what_they_are_worth() -> None:
    item = Difference("a", "b", Interval(0.1, -0.1, 0.3), 0.5, None, 0.05)
    even, uneven = (questions_needed(item, questions=100, clusters=20, pairs=1, confidence=0.95,
                                     effective=worth) for worth in (20.0, 2.0))
    assert even is not None and uneven is not None
    assert uneven > even
