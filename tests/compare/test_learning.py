"""Nested subsets are trained on as the adapter was, asked, drawn, and found again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from phi3kit.compare import learning as room
from phi3kit.compare.arms import Bench, answer
from phi3kit.compare.leakage import training_run
from phi3kit.compare.losses import loss_curves
from phi3kit.compare.run import compare, load_comparison
from phi3kit.compare.subsets import curves, subset, training_settings, write_subset
from phi3kit.compare.task import prepare
from phi3kit.dataset.examples import read_examples
from phi3kit.errors import DataError, RunError, SettingsError
from phi3kit.finetune.train import finetune
from phi3kit.records import Answer, Comparison, LearningCurve
from phi3kit.report.comparison_text import findings
from phi3kit.runs import read_run
from phi3kit.settings import FinetuneSettings, Settings

EXAMPLES = [{"prompt": f"What is part {n}?", "completion": f"Part {n} is red."} for n in range(8)]


@pytest.fixture
def trained(settings: Settings, project: Path) -> Settings:
    """Arms base and finetune, whose adapter was trained on eight examples here."""
    (project / "train.jsonl").write_text("".join(json.dumps(e) + "\n" for e in EXAMPLES))
    tuned = replace(settings, finetune=FinetuneSettings(
        dataset="train.jsonl", epochs=2, batch_size=2, learning_rate=1e-3, seed=5))
    report = finetune(tuned)
    # What is set when `compare` runs is not what the adapter was trained with.
    return replace(
        settings, ask=replace(settings.ask, adapter=report.run),
        compare=replace(settings.compare, arms=("base", "finetune"), learning_curve=(2, 4, 8)))


def at(settings: Settings, *sizes: int, **own: Any) -> Settings:
    return replace(settings, compare=replace(settings.compare, learning_curve=sizes, **own))


def measured(found: Comparison) -> LearningCurve:
    assert found.learning is not None
    return found.learning


Asked = list[tuple[str, str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """(adapter's run, question) of what the curve asked; the real answers stay."""
    found: Asked = []
    real = answer

    def telling(bench: Bench, arm: str, questions: Sequence[str],
                on_answers: Callable[[list[int], list[Answer]], None]) -> None:
        found.extend((bench.adapters[arm].parent.name, q) for q in questions)  # type: ignore[index]
        real(bench, arm, questions, on_answers)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "answer", telling)
    return found


def test_a_curve_is_trained_asked_and_found_again(trained: Settings, asked: Asked,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    result = compare(trained)
    found = measured(result)
    assert [(p.arm, p.examples) for p in found.points] == [
        ("finetune", 2), ("finetune", 4), ("finetune", 8)]
    whole = next(arm for arm in result.arms if arm.arm == "finetune")
    assert found.points[-1].value == whole.metrics["score"]
    assert found.points[-1].run == trained.ask.adapter
    (more,) = found.extrapolations
    assert (more.arm, more.examples) == ("finetune", 16)
    # Ways of training are those of the adapter, on fewer examples and so in fewer steps.
    of_whole = read_run(Path(trained.ask.adapter or ""))
    for point in found.points[:-1]:
        state = read_run(Path(point.run))
        assert state["inputs"]["finetune"] == of_whole["inputs"]["finetune"]
        assert state["inputs"]["examples"] == point.examples
        assert state["result"]["steps"] == point.examples  # two epochs, batches of two
        assert point.seconds == state["result"]["seconds"]
    # Every size was asked every question, with an adapter of its own; the whole arm was before.
    assert len(asked) == 10
    assert {run for run, _ in asked} == {Path(p.run).name for p in found.points[:-1]}
    # The run folder tells it again, and result.json holds nothing that a clock decides.
    run = Path(result.run)
    assert load_comparison(run).learning == found
    written = (run / "result.json").read_bytes()
    assert b'"learning"' not in written
    said = dict(findings(result))["Would more examples pay?"]
    assert said[0] == more.sentence
    assert said[1].count(" after ") == 3
    # Nothing is trained or asked twice.
    asked.clear()
    monkeypatch.setattr("phi3kit.finetune.train._train",
                        lambda *_, **__: pytest.fail("trained again"))
    assert measured(compare(trained)) == found
    assert asked == []
    assert (run / "result.json").read_bytes() == written
    # Another metric is computed from the rows that are there.
    other = measured(compare(at(trained, 2, 4, metric="contains")))
    assert (other.metric, len(other.points), asked) == ("contains", 3, [])
    assert compare(at(trained)).learning is None
    assert load_comparison(run).learning is None


def test_an_interrupted_curve_goes_on(trained: Settings, asked: Asked,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    real, told = vars(room)["answer"], iter(range(1))

    def stopping(*args: Any) -> None:
        if next(told, None) is None:
            raise KeyboardInterrupt
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(room, "answer", stopping)
        with pytest.raises(KeyboardInterrupt):
            compare(trained)
    first = {run for run, _ in asked}
    asked.clear()
    found = measured(compare(trained))
    assert len(first) == 1
    assert len(asked) == 5
    assert {run for run, _ in asked} == {Path(found.points[1].run).name}


def test_both_has_a_curve_of_its_own(trained: Settings) -> None:
    found = measured(compare(replace(at(trained, 4), compare=replace(
        trained.compare, arms=("base", "finetune", "both"), learning_curve=(4,)))))
    assert [(p.arm, p.examples) for p in found.points] == [
        ("finetune", 4), ("finetune", 8), ("both", 4), ("both", 8)]
    assert found.extrapolations == ()
    # One adapter serves both, so that it is trained once.
    assert found.points[0].run == found.points[2].run


def test_subsets_are_nested_and_drawn_by_seed(trained: Settings) -> None:
    (curve,) = curves(prepare(trained))
    assert curve.sizes == (2, 4)  # all eight are the adapter itself
    parts = {size: [e.line for e in subset(curve, size)] for size in range(1, 9)}
    for size in range(1, 8):
        assert len(parts[size]) == size
        assert parts[size] == sorted(parts[size])
        assert set(parts[size]) < set(parts[size + 1])
    assert parts[4] != [1, 2, 3, 4]
    assert [e.line for e in subset(curve, 4)] == parts[4]


def test_a_subset_reads_as_what_it_was_taken_from(trained: Settings, project: Path) -> None:
    (project / "more.jsonl").write_text(json.dumps({
        "messages": [{"role": "system", "content": "Be brief. ü"},
                     {"role": "user", "content": "Why?"},
                     {"role": "assistant", "content": "So."}],
        "source_ids": ["a.md"], "kind": "why"}) + "\n")
    examples = read_examples(project / "more.jsonl").examples
    assert read_examples(write_subset(examples, project / "parts")).examples == examples


def test_what_decided_the_training_is_kept(trained: Settings, project: Path) -> None:
    state = training_run(Path(trained.ask.adapter or "") / "adapter")
    assert state is not None
    other = replace(trained, finetune=replace(trained.finetune, micro_batch_tokens=77, epochs=9),
                    ask=replace(trained.ask, instruction="Sing."))
    made = training_settings(other, state, Path("part.jsonl"))
    assert (made.finetune.epochs, made.finetune.seed, made.finetune.batch_size) == (2, 5, 2)
    assert (made.finetune.micro_batch_tokens, made.finetune.dataset) == (77, "part.jsonl")
    assert made.ask.instruction == "Answer."
    state["inputs"]["finetune"]["gone"] = 1
    with pytest.raises(RunError, match="another version"):
        training_settings(other, state, Path("part.jsonl"))


def test_what_cannot_be_measured_is_said_before_anything_is_asked(
        trained: Settings, settings: Settings, project: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phi3kit.compare.run._answer_missing",
                        lambda *_: pytest.fail("asked already"))
    with pytest.raises(SettingsError, match=r"9 is more than the 8 examples.*at most 8"):
        compare(at(trained, 2, 9))
    with pytest.raises(SettingsError, match="no arm is tuned"):
        compare(at(trained, 2, arms=("base", "rag")))
    with pytest.raises(RunError, match="how the adapter was trained is not known"):
        compare(at(settings, 2))
    with (project / "train.jsonl").open("a") as out:
        out.write(json.dumps(EXAMPLES[0]) + "\n")
    with pytest.raises(DataError, match=r"gone, or were changed since.*Put them back"):
        compare(at(trained, 2))


def test_other_conditions_than_the_arms_had_stop_it(trained: Settings) -> None:
    run = Path(compare(at(trained)).run)
    shared = json.loads((run / "conditions.json").read_text())
    (run / "conditions.json").write_text(json.dumps({**shared, "base_probe": "other"}))
    with pytest.raises(RunError, match="another base probe"):
        compare(trained)
    assert read_run(run)["status"] == "failed"


def test_the_loss_is_in_the_comparison(trained: Settings) -> None:
    result = compare(at(trained))
    (loss,) = result.loss
    lines = [json.loads(line) for line in
             Path(trained.ask.adapter or "", "metrics.jsonl").read_text().splitlines()]
    assert (loss.arms, loss.run) == (("finetune",), trained.ask.adapter)
    assert loss.points == tuple((line["step"], line["loss"]) for line in lines)
    assert load_comparison(Path(result.run)).loss == result.loss


def test_many_steps_are_drawn_as_few_points(project: Path) -> None:
    (project / "metrics.jsonl").write_text("".join(
        json.dumps({"step": n, "loss": float(n)}) + "\n" for n in range(1, 502)))
    (loss,) = loss_curves({"finetune": project / "adapter", "both": project / "adapter"})
    assert loss.arms == ("finetune", "both")
    assert len(loss.points) == 167
    assert loss.points[0] == (3, 2.0)
    assert loss.points[-1] == (501, 500.0)
    assert loss_curves({"finetune": project / "elsewhere" / "adapter"}) == ()
