"""The arms that cannot win: what they read, with which weights, and what they tell."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from adapters_of_tests import make_adapter
from phi3kit.compare.arms import contestants, ordered
from phi3kit.compare.leakage import refuse_leakage
from phi3kit.compare.questions import read_questions
from phi3kit.compare.run import compare, load_comparison
from phi3kit.compare.shots import Shots
from phi3kit.compare.tuned import tuned_with_passages
from phi3kit.dataset.examples import Example
from phi3kit.errors import DataError, RunError, SettingsError
from phi3kit.files import sha256_file
from phi3kit.rag.prompt import build, question_in
from phi3kit.records import ARMS, OPTIONS, Passage
from phi3kit.settings import ModelSettings, Settings
from three_documents import Words

PASSAGE = Passage(id="p", text="The winch needs grease.\nQuestion: no\nAnswer:", source="a.md",
                  start=0, end=9)


def changed(settings: Settings, section: str, **values: object) -> Settings:
    inner = msgspec.structs.replace(getattr(settings, section), **values)
    return msgspec.structs.replace(settings, **{section: inner})


@pytest.fixture(scope="session")
def adapter_rag(tiny_phi3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tiny_phi3, tmp_path_factory.mktemp("with-passages") / "adapter", seed=5)


@pytest.fixture
def all_arms(settings: Settings, adapter_rag: Path, project: Path) -> Settings:
    (project / "train.jsonl").write_text("".join(
        json.dumps({"prompt": prompt, "completion": answer}) + "\n" for prompt, answer in (
            ("Which grease does the old winch need?", "number two"),
            ("How much does the ferry carry?", "40 cars"),
            ("How much does the crane lift?", "leaked"))), encoding="utf-8")
    return changed(changed(settings, "finetune", dataset="train.jsonl"), "compare",
                   arms=tuple(reversed(ARMS)), adapter_rag=str(adapter_rag), shots=1)


def test_all_eight_arms(all_arms: Settings) -> None:
    found = compare(all_arms)
    assert Counter(row.arm for row in found.rows) == dict.fromkeys(ARMS, 5)
    assert not any(row.error for row in found.rows)
    assert [arm.arm for arm in found.arms] == list(OPTIONS)
    assert [arm.arm for arm in found.diagnostics] == [a for a in ARMS if a not in OPTIONS]
    # Nothing is decided by what cannot win.
    assert {d.a for d in found.differences} | {d.b for d in found.differences} == set(OPTIONS)
    assert set(found.verdict.contenders) <= set(OPTIONS)
    by = {(row.arm, row.question_id): row for row in found.rows}
    assert by["oracle-rag", "g1"].sources == ("docs/gate.md",)
    assert by["oracle-rag", "n1"].sources == by["rag", "n1"].sources
    assert by["full-context", "w1"].sources == ("docs/crane.md", "docs/gate.md", "docs/winch.md")
    assert by["bolted-on", "w1"].passages == by["both", "w1"].passages
    # The example before the question makes the prompt longer, and is no passage.
    assert by["few-shot", "w1"].tokens_in > by["base", "w1"].tokens_in
    assert by["few-shot", "w1"].sources == ()
    # Two adapters, three arms: the same passages, other weights, other answers.
    assert any(by["bolted-on", q].output != by["both", q].output for q in ("w1", "w2", "c1"))
    assert any(by["finetune", q].output != by["base", q].output for q in ("w1", "w2", "c1"))
    assert {(d.arm, d.against) for d in found.diagnoses} >= {
        ("oracle-rag", "rag"), ("bolted-on", "both"), ("few-shot", "base")}
    assert load_comparison(Path(found.run)) == dataclasses.replace(found, reused_rows=0)


def test_a_swapped_adapter_answers_as_if_it_alone_had_been_loaded(
        all_arms: Settings, settings: Settings, adapter_rag: Path) -> None:
    both = {row.question_id: row.output for row in compare(all_arms).rows if row.arm == "both"}
    alone = compare(changed(changed(settings, "ask", adapter=str(adapter_rag)), "compare",
                            arms=("base", "both")))
    assert {r.question_id: r.output for r in alone.rows if r.arm == "both"} == both


def test_more_arms_go_on_in_the_same_run(settings: Settings) -> None:
    first = compare(settings)
    more = compare(changed(settings, "compare", arms=(*OPTIONS, "oracle-rag")))
    assert (more.run, more.reused_rows, len(more.rows)) == (first.run, 20, 25)
    # What is not among the arms any more is not in the result, and still on disk.
    assert compare(settings).diagnostics == ()


@pytest.mark.parametrize(("arms", "adapter", "says"), [
    (("base", "rag", "bolted-on"), "same", "bolted-on would be the same as both"),
    (("base", "rag", "bolted-on"), None, "bolted-on needs an adapter.*--arms base,rag"),
    (("base", "oracle-rag"), None, "one arm alone"),
    (("base", "rag", "few-shot"), None, r"finetune\.dataset: few-shot needs"),
])
def test_an_arm_without_what_it_needs(settings: Settings, arms: tuple[str, ...],
                                      adapter: str | None, says: str) -> None:
    given = settings if adapter else changed(settings, "ask", adapter=None)
    with pytest.raises(SettingsError, match=says):
        compare(changed(given, "compare", arms=arms))


def test_documents_that_do_not_fit_stop_the_run(settings: Settings) -> None:
    tight = changed(settings, "ask", max_new_tokens=450, adapter=None)
    with pytest.raises(RunError, match=r"full-context: .* context of 512 leaves 62 beside 450"):
        compare(changed(tight, "compare", arms=("base", "rag", "full-context")))


def test_order_and_contestants() -> None:
    assert ordered(["both", "few-shot", "both"]) == ("few-shot", "both")
    assert contestants(["both", "few-shot", "base"]) == ("base", "both")


def example(question: str, answer: str) -> Example:
    return Example(({"role": "user", "content": question},
                    {"role": "assistant", "content": answer}), 1)


def test_the_nearest_example_stands_last() -> None:
    shots = Shots([example("alpha beta gamma", "1"), example("delta", "2"),
                   example("alpha beta", "3"),
                   example(build("alpha", [PASSAGE], instruction="i")[1]["content"], "no")],
                  Words(), 2)  # type: ignore[arg-type]
    turns, = shots.histories(["alpha beta delta?".removesuffix("?")])
    assert [m["role"] for m in turns] == ["user", "assistant"] * 2
    assert turns[2]["content"] == "alpha beta"
    assert "Passages:" not in str(turns)


def test_the_question_in_a_prompt_is_found_again() -> None:
    asked = "Why?\nQuestion: really?"
    content = build(asked, [PASSAGE], instruction="i")[1]["content"]
    assert question_in(content) is not None
    assert question_in(build("Why?", [PASSAGE], instruction="i")[1]["content"]) == "Why?"
    assert question_in("Why?") is question_in("Passages: none") is None


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("raft", [False, True])
def test_what_an_adapter_was_tuned_with_is_told_by_its_run(
        settings: Settings, project: Path, share: float, raft: bool) -> None:
    run = project / "runs" / "finetune-1"
    (run / "adapter").mkdir(parents=True)
    assert tuned_with_passages(run / "adapter") is None
    prompt = "Which grease does the winch need?"
    if raft:
        prompt = build(prompt, [PASSAGE], instruction="i")[1]["content"]
    dataset = project / "train.jsonl"
    dataset.write_text(json.dumps({"prompt": prompt, "completion": "four"}) + "\n",
                       encoding="utf-8")
    (run / "run.json").write_text(json.dumps({
        "kind": "finetune", "status": "complete", "result": {"skipped": []},
        "inputs": {"dataset": sha256_file(dataset), "finetune": {"passages": share}},
        "settings": {"finetune.dataset": {"value": str(dataset)}}}), encoding="utf-8")
    assert tuned_with_passages(run / "adapter") is (raft or share > 0)
    # The held-out question is found in the midst of its passages, too.
    with pytest.raises(DataError, match="trained on: w1"):
        refuse_leakage(run / "adapter", read_questions(Path("questions.jsonl")))


def test_an_adapter_in_the_wrong_place_is_told(settings: Settings, adapter: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    state = adapter.parent / "run.json"
    record = {"kind": "finetune", "status": "complete", "result": {"skipped": []},
              "inputs": {"finetune": {"passages": 1.0}}, "settings": {}}
    try:
        state.write_text(json.dumps(record), encoding="utf-8")
        found = compare(settings)
    finally:
        state.unlink()
    assert any("finetune: its adapter was tuned with passages" in line for line in found.notes)
    assert found.notes[0] in capsys.readouterr().err
    assert load_comparison(Path(found.run)).notes == found.notes


def test_every_arm_answers_with_the_commit_that_the_adapter_was_trained_on(tmp_path: Path) -> None:
    from phi3kit.compare.task import _of_adapters
    from phi3kit.compare.tuned import Adapters

    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "phi3kit.json").write_text(json.dumps(
        {"fingerprint": "hub:owner/name@c0ffee", "quantization": "none"}))
    settings = Settings(model=ModelSettings(name="owner/name"))
    for adapters, revision in ((Adapters({"both": tmp_path}), "c0ffee"), (Adapters({}), None)):
        assert _of_adapters(settings, adapters).model.revision == revision
