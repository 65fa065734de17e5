"""Gates: what is read, what is refused, and what an interval makes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from finished_comparison import finished
from phi3kit.compare.gate import Condition, judge_gates, read_gate
from phi3kit.compare.intervals import Method
from phi3kit.compare.results import load_comparison
from phi3kit.compare.task import prepare
from phi3kit.errors import SettingsError
from phi3kit.records import Comparison
from phi3kit.report.choice_text import exit_code
from phi3kit.report.comparison_text import findings
from phi3kit.settings import CompareSettings, Settings

ARMS = ("base", "rag", "oracle-rag", "both")
METHOD = Method(confidence=0.95, resamples=1000, seed=0)


@pytest.mark.parametrize(("text", "read"), [
    ("both token_f1 >= 0.3", ("both", "token_f1", ">=", None, 0.3)),
    ("  both   token_f1>=.3 ", ("both", "token_f1", ">=", None, 0.3)),
    ("both token_f1 > -0.5", ("both", "token_f1", ">", None, -0.5)),
    ("both label_macro_f1 >= 1", ("both", "label_macro_f1", ">=", None, 1.0)),
    ("both score >= rag", ("both", "score", ">=", "rag", 0.0)),
    ("both score >= rag + 0.02", ("both", "score", ">=", "rag", 0.02)),
    ("rag score < oracle-rag-0.1", ("rag", "score", "<", "oracle-rag", -0.1)),
    ("oracle-rag length_ratio <= rag +1", ("oracle-rag", "length_ratio", "<=", "rag", 1.0)),
])
def test_what_is_read(text: str, read: tuple[Any, ...]) -> None:
    assert read_gate(text, ARMS) == Condition(" ".join(text.split()), *read)


@pytest.mark.parametrize(("text", "says"), [
    ("", "no condition"),
    ("both is best", 'Write it as "both token_f1 >= 0.3"'),
    ("both token_f1 == 0.3", "no condition"),
    ("both token_f1 >= rag + much", "no condition"),
    ("both token_f1 >= rag * 2", "no condition"),
    ("both token_f1 >= 30%", "no condition"),
    ("both tokenf1 >= 0.3", "Did you mean 'token_f1'"),
    ("both luck >= 0.3", "Take one of score"),
    ("best token_f1 >= 0.3", "there is no arm 'best'"),
    ("both token_f1 >= ragg", "there is no arm 'ragg'"),
    ("finetune token_f1 >= 0.3", "finetune does not run. Add it to --arms"),
    ("both token_f1 >= both + 0.1", "held against itself"),
    ("both label_macro_f1 >= rag", "cannot be paired"),
])
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=r"^compare\.gate") as error:
        read_gate(text, ARMS)
    assert says in str(error.value)


def test_a_gate_is_refused_before_anything_is_read() -> None:
    with pytest.raises(SettingsError, match="there is no metric"):
        prepare(Settings(compare=CompareSettings(arms=("base", "rag"), questions="none.jsonl",
                                                 gate=("rag luck > 0",))))


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """rag is 0.2 ahead of base, give or take 0.1, on 24 documents."""
    base = [0.3 + 0.3 * (i % 3) for i in range(24)]
    return finished(tmp_path, {
        "base": base, "rag": [x + 0.2 + (0.1 if i % 2 else -0.1) for i, x in enumerate(base)]})


@pytest.mark.parametrize(("text", "outcome"), [
    ("rag score >= base", "passed"),
    ("rag score >= base + 0.1", "passed"),
    ("rag score >= base + 0.2", "undecided"),
    ("rag score >= base + 0.3", "failed"),
    ("rag score < base + 0.3", "passed"),
    ("base score <= rag - 0.1", "passed"),
    ("base score > rag - 0.1", "failed"),
    ("rag score >= 0.5", "passed"),
    ("rag score >= 0.8", "undecided"),
    ("rag score >= 0.99", "failed"),
])
def test_what_becomes_of_it(comparison: Comparison, text: str, outcome: str) -> None:
    gate, = judge_gates(comparison, [read_gate(text, ("base", "rag"))], METHOD)
    assert gate.outcome == outcome
    assert gate.value.low <= gate.value.mean <= gate.value.high
    assert f"{gate.value.mean:.3f}" in gate.sentence


def test_against_an_arm_it_is_paired(comparison: Comparison) -> None:
    gate, = judge_gates(comparison, [read_gate("rag score > base", ("base", "rag"))], METHOD)
    assert gate.value == dataclasses.replace(
        gate.value, mean=pytest.approx(0.2))  # the arms alone are 0.1 wide each way
    arms = {arm.arm: arm.metrics["score"] for arm in comparison.arms}
    assert arms["rag"].low < arms["base"].high + 0.1
    assert gate.value.low > 0.1


def test_an_end_on_the_limit_meets_what_includes_it(tmp_path: Path) -> None:
    same = finished(tmp_path, {"base": [0.5] * 8, "rag": [1.0] * 8})
    outcomes = [judge_gates(same, [read_gate(text, ("base", "rag"))], METHOD)[0].outcome
                for text in ("rag score >= base + 0.5", "rag score > base + 0.5")]
    assert outcomes == ["passed", "failed"]


def test_a_metric_without_values_is_an_error(comparison: Comparison) -> None:
    for text in ("base hit_at_k > 0.1", "rag hit_at_k > base"):
        with pytest.raises(SettingsError, match="has hit_at_k"):
            judge_gates(comparison, [read_gate(text, ("base", "rag"))], METHOD)


@pytest.mark.parametrize(("gates", "code"), [
    (("rag score > 0.1",), 0),
    (("rag score > 0.1", "rag score >= 0.8"), 3),
    (("rag score > 0.99", "rag score >= 0.8", "rag score > 0.1"), 1),
])
def test_gates_decide_the_exit_code(tmp_path: Path, gates: tuple[str, ...], code: int) -> None:
    # Nothing is decidable between equal arms, and weights do not help either.
    worth = [0.5 + 0.3 * (i % 3) for i in range(24)]
    scores: Any = {"base": worth, "rag": worth}
    assert exit_code(finished(tmp_path / "none", scores)) == 3
    weighed = finished(tmp_path / "weights", scores,
                       compare={"weights": {"quality": 1.0, "latency": 1.0}})
    assert (weighed.choice is None, exit_code(weighed)) == (False, 3)
    found = finished(tmp_path / "gates", scores, compare={"gate": gates})
    assert exit_code(found) == code
    assert [gate.condition for gate in found.gates] == list(gates)
    assert load_comparison(Path(found.run)).gates == found.gates
    told = dict(findings(found))["Do the gates hold?"]
    assert len(told) == len(gates)
    assert told[-1].startswith("Passed: rag score > 0.1." if code != 3 else "Undecided: rag")
