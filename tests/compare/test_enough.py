"""A simpler arm is enough when it is shown not to be worse by the margin."""

from __future__ import annotations

import itertools

import pytest

from phi3kit.compare.enough import enough, simpler
from phi3kit.compare.intervals import Method
from phi3kit.compare.statistics import differences, summarise
from phi3kit.compare.verdict import decide
from phi3kit.records import OPTIONS, Difference, Interval, Row, Verdict

METHOD = Method(0.95, 2000, 0)


def differ(**low_high: tuple[float, float]) -> list[Difference]:
    """Differences by "a_b"; pairs that are not named are far apart, the earlier one ahead."""
    return [Difference(a, b, Interval((seen[0] + seen[1]) / 2, *seen), 0.5)
            for a, b in itertools.combinations(OPTIONS, 2)
            for seen in [low_high.get(f"{a}_{b}", (0.3, 0.5))]]


def answers(scores: dict[str, list[float]]) -> list[Row]:
    return [Row(arm=arm, question_id=str(n), kind="fact", cluster=str(n), question="?",
                gold=("x",), output="x", abstained=False, citations=(), removed_citations=(),
                passages=(), sources=(), tokens_in=1, tokens_out=1, seconds=0.1,
                metrics={"score": score}, error=None)
            for arm, values in scores.items() for n, score in enumerate(values)]


def verdict(scores: dict[str, list[float]], margin: float, prediction=None) -> Verdict:
    rows = answers(scores)
    arms = tuple(scores)
    return decide([summarise(arm, [r for r in rows if r.arm == arm], "score", METHOD)
                   for arm in arms], differences(rows, arms, "score", METHOD), metric="score",
                  confidence=0.95, clusters=len(next(iter(scores.values()))), margin=margin,
                  prediction=prediction)


def test_which_option_is_a_part_of_which():
    assert [(a, b) for a in OPTIONS for b in OPTIONS if simpler(a, b)] == [
        ("base", "rag"), ("base", "finetune"), ("base", "both"), ("rag", "both"),
        ("finetune", "both")]


BEHIND = (-0.5, -0.3)


@pytest.mark.parametrize(("found", "wanted"), [
    (differ(base_rag=BEHIND, base_finetune=BEHIND, base_both=BEHIND, rag_finetune=BEHIND,
            rag_both=BEHIND, finetune_both=(-0.04, 0.02)), "finetune"),
    (differ(base_rag=BEHIND, base_finetune=BEHIND, base_both=BEHIND, rag_finetune=BEHIND,
            rag_both=BEHIND, finetune_both=(-0.06, 0.02)), None),  # not shown; nor is both
    (differ(base_rag=BEHIND, base_finetune=BEHIND, base_both=BEHIND, rag_finetune=(-0.01, 0.01),
            rag_both=(-0.01, 0.01), finetune_both=(-0.01, 0.01)), None),  # neither is simpler
    (differ(base_rag=(-0.01, 0.0), base_finetune=(-0.01, 0.0), base_both=(-0.04, 0.0)), "base"),
])
def test_the_simplest_that_is_shown_not_to_be_worse(found, wanted):
    both_is_open = wanted is None and found[-1].difference.low == -0.06
    assert enough(OPTIONS, found, 0.05) == ("both" if both_is_open else wanted)
    assert enough(OPTIONS, found, 0.0) is None


def even(count: int, share: float) -> list[float]:
    return [float(int((n + 1) * share) > int(n * share)) for n in range(count)]


def test_equals_are_decided_by_what_they_need():
    tuned = even(400, 0.8)
    nearly = [*tuned[:398], 1 - tuned[398], tuned[399]]
    scores = {"base": [0.0] * 400, "rag": [0.0] * 400, "finetune": tuned, "both": nearly}
    assert verdict(scores, 0.0).winner is None
    found = verdict(scores, 0.05, prediction="both")
    assert (found.winner, found.outcome, found.enough) == ("finetune", "refuted", True)
    assert set(found.contenders) == {"finetune", "both"} and found.questions_needed is None
    assert "finetune is enough: at most 0.05 behind" in found.sentence
    assert "which needs retrieval as well" in found.sentence
    assert verdict(scores, 0.05, prediction="finetune").outcome == "confirmed"


def test_a_lead_beyond_doubt_may_still_be_too_small_to_pay_for():
    better = [1.0] * 1000
    almost = [1.0] * 985 + [0.0] * 15
    scores = {"base": [0.0] * 1000, "rag": almost, "both": better}
    assert verdict(scores, 0.0).winner == "both"
    assert verdict(scores, 0.005).winner == "both"
    found = verdict(scores, 0.05)
    assert (found.winner, found.enough) == ("rag", True) and found.contenders == ("both",)


def test_few_questions_show_nothing_however_equal():
    scores = {"base": [0.0] * 12, "rag": [0.0] * 12, "finetune": even(12, 0.8),
              "both": [1 - s for s in even(12, 0.2)]}
    assert verdict(scores, 0.05).winner is None
