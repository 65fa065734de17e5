"""The run itself: every arm answers, nothing is asked twice, and differences stop it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from phi3kit import runs
from phi3kit.compare import arms
from phi3kit.compare import run as room
from phi3kit.compare.questions import read_questions
from phi3kit.compare.rows import RowFile
from phi3kit.compare.run import compare, load_comparison
from phi3kit.dataset.examples import Example
from phi3kit.dataset.heldout import HeldOut
from phi3kit.dataset.leakage import find_leaks
from phi3kit.errors import DataError, RunError, SettingsError
from phi3kit.files import sha256_file
from phi3kit.records import Comparison, Row
from phi3kit.settings import Settings


def changed(settings: Settings, section: str, **values: object) -> Settings:
    inner = msgspec.structs.replace(getattr(settings, section), **values)
    return msgspec.structs.replace(settings, **{section: inner})


def without_clock(rows: tuple[Row, ...]) -> list[Row]:
    import dataclasses

    return [dataclasses.replace(row, seconds=0.0) for row in rows]


def lines(comparison: Comparison) -> list[dict[str, object]]:
    text = (Path(comparison.run) / "rows.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_every_arm_answers_every_question_from_the_same_passages(
        settings: Settings, searcher) -> None:  # type: ignore[no-untyped-def]
    found = compare(settings)
    assert Counter((row.arm, row.question_id) for row in found.rows) == Counter(
        (arm, q) for arm in ("base", "rag", "finetune", "both")
        for q in ("w1", "w2", "c1", "g1", "n1"))
    by = {(row.arm, row.question_id): row for row in found.rows}
    assert by["rag", "w1"].sources == by["both", "w1"].sources == (
        "docs/winch.md", *by["rag", "w1"].sources[1:])
    assert by["base", "w1"].sources == by["finetune", "w1"].sources == ()
    assert by["rag", "w1"].metrics["hit_at_k"] == 1
    # The adapter is on for the tuned arms and off for the others.
    assert any(by["base", q].output != by["finetune", q].output for q in ("w1", "w2", "c1"))
    # One search for each question, not one for each arm.
    assert Counter(searcher.asked) == Counter(row.question for row in found.rows
                                              if row.arm == "rag")
    assert found.conditions["index"] == searcher.fingerprint
    assert found.conditions["checkpoint"].startswith("sha256:")
    assert found.clusters == 4


def test_reused_and_analysed_again_without_a_model(
        settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compare(settings)
    result = (Path(first.run) / "result.json").read_bytes()
    monkeypatch.setattr(room, "_open", lambda _: pytest.fail("a model was loaded"))
    again = compare(settings)
    assert (again.run, again.reused_rows) == (first.run, 20)
    assert again.verdict == first.verdict
    assert (Path(first.run) / "result.json").read_bytes() == result
    assert compare(changed(settings, "compare", metric="contains")).verdict.metric == "contains"


def test_fresh_gives_the_same_bytes(settings: Settings) -> None:
    first = compare(settings)
    result = (Path(first.run) / "result.json").read_bytes()
    second = compare(settings, fresh=True)
    assert (second.reused_rows, (Path(second.run) / "result.json").read_bytes()) == (0, result)
    assert without_clock(second.rows) == without_clock(first.rows)


@pytest.mark.parametrize("batches", [1, 3, 5])
def test_an_interrupted_run_goes_on(settings: Settings, batches: int,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compare(settings)
    left = interrupted(settings, batches, monkeypatch)
    assert 0 < len(left) < 20
    resumed = compare(settings)
    assert resumed.reused_rows == len(left)
    assert len(lines(resumed)) == len({(r["arm"], r["question_id"]) for r in lines(resumed)}) == 20
    assert without_clock(resumed.rows) == without_clock(whole.rows)
    assert resumed.verdict == whole.verdict


def interrupted(settings: Settings, batches: int,
                monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stop after so many batches, the last line torn; returns the whole lines that are left."""
    append, count = RowFile.append, iter(range(batches))

    def stopping(self: RowFile, rows: Iterator[Row]) -> None:
        if next(count, None) is None:
            raise KeyboardInterrupt
        append(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(RowFile, "append", stopping)
        with pytest.raises(KeyboardInterrupt):
            compare(settings, fresh=True)
    path, = Path("runs").glob("compare-*/rows.jsonl")
    kept = path.read_text(encoding="utf-8").splitlines()
    with path.open("a", encoding="utf-8") as out:
        out.write(kept[0][:40])
    return kept


def test_a_damaged_line_in_the_middle_is_named(settings: Settings) -> None:
    path = Path(compare(settings).run) / "rows.jsonl"
    text = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join([text[0], "{", *text[2:]]), encoding="utf-8")
    with pytest.raises(RunError, match=r"rows\.jsonl:2.*--fresh"):
        compare(settings)


def test_other_conditions_stop_the_run(settings: Settings,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = arms.conditions, iter(range(9))

    def drifting(bench: arms.Bench, settings: Settings) -> dict[str, object]:
        return {**real(bench, settings), "checkpoint": f"sha256:{next(calls) // 2}"}

    monkeypatch.setattr(room, "conditions", drifting)
    with pytest.raises(RunError, match="'finetune' would run with another checkpoint"):
        compare(settings)
    state = runs.read_run(next(Path("runs").glob("compare-*")))
    assert state["status"] == "failed"
    with pytest.raises(RunError, match="not finished"):
        load_comparison(next(Path("runs").glob("compare-*")))


def test_weights_that_change_between_arms_are_noticed(settings: Settings) -> None:
    from phi3kit.compare.run import _open
    from phi3kit.compare.task import prepare

    bench = _open(prepare(settings))
    before = arms.conditions(bench, settings)
    assert arms.conditions(bench, settings) == before
    head = bench.generator.loaded.model.get_output_embeddings().weight
    head.data = head.data.flip(0)
    with pytest.raises(RunError, match="base probe"):
        arms.assert_same(arms.conditions(bench, settings), before, "rag")


@pytest.mark.parametrize(("section", "values"), [
    ("ask", {"max_new_tokens": 5}), ("ask", {"passages": 1}), ("ask", {"instruction": "Say."}),
    ("ask", {"min_similarity": 0.1}), ("ask", {"retrieval": "dense"}),
    ("ask", {"filters": ("type=md",)}), ("model", {"dtype": "auto"}),
    ("ask", {"unsupported": "abstain"}),
])
def test_another_way_of_asking_is_another_run(settings: Settings, section: str,
                                              values: dict[str, object]) -> None:
    assert compare(settings).run != compare(changed(settings, section, **values)).run


def test_tuned_arms_need_an_adapter(settings: Settings) -> None:
    with pytest.raises(SettingsError, match=r"finetune and both need an adapter.*base,rag"):
        compare(changed(settings, "ask", adapter=None))
    found = compare(changed(changed(settings, "ask", adapter=None), "compare",
                            arms=("rag", "base")))
    assert [arm.arm for arm in found.arms] == ["base", "rag"]


def test_nothing_to_ask(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="--questions"):
        compare(changed(settings, "compare", questions=None))
    with pytest.raises(SettingsError, match="one arm alone"):
        compare(changed(settings, "compare", arms=("rag", "rag")))


def test_errors_are_rows_worth_nothing(settings: Settings, project: Path) -> None:
    long = {"id": "long", "question": "winch " * 600, "answers": ["four"], "kind": "fact"}
    with (project / "questions.jsonl").open("a", encoding="utf-8") as out:
        out.write(json.dumps(long) + "\n")
    found = compare(settings)
    failed = [row for row in found.rows if row.error]
    assert {(row.arm, row.question_id) for row in failed} == {
        (arm.arm, "long") for arm in found.arms}
    assert all(set(row.metrics.values()) == {0} for row in failed)
    assert [arm.errors for arm in found.arms] == [1, 1, 1, 1]
    assert compare(settings).reused_rows == 24


def test_what_was_trained_on_is_refused(settings: Settings, project: Path, adapter: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    compare(settings)
    assert "leakage cannot be checked" in capsys.readouterr().err
    dataset = project / "train.jsonl"
    dataset.write_text("".join(
        json.dumps({"prompt": prompt, "completion": "four"}) + "\n"
        for prompt in ("which grease does the  WINCH need", "Something else?")), encoding="utf-8")
    state = adapter.parent / "run.json"
    record = {"kind": "finetune", "status": "complete", "result": {"skipped": []},
              "inputs": {"dataset": sha256_file(dataset)},
              "settings": {"finetune.dataset": {"value": str(dataset), "source": "file"}}}
    try:
        state.write_text(json.dumps(record), encoding="utf-8")
        with pytest.raises(DataError, match="1 held-out question was trained on: w1"):
            compare(settings)
        record["result"] = {"skipped": [{"where": f"{dataset}:1", "why": "held out"}]}
        state.write_text(json.dumps(record), encoding="utf-8")
        compare(settings)
        dataset.write_text("changed", encoding="utf-8")
        compare(settings)
        assert "changed since" in capsys.readouterr().err
    finally:
        state.unlink()


@pytest.mark.parametrize(("role", "text", "leaked"), [
    ("user", "Which grease does the winch need?", ["w1"]),
    ("user", "WHICH grease -- does the winch need", ["w1"]),
    ("user", "Which grease does the old winch need?", []),
    ("user", "Which grease does the winch need? Why?", []),
    ("assistant", "Which grease does the winch need?", []),
])
def test_leakage_is_the_whole_question_asked(settings: Settings, role: str, text: str,
                                             leaked: list[str]) -> None:
    example = Example(messages=({"role": role, "content": text},), line=1)
    asked = [HeldOut(q.id, q.question, "") for q in read_questions(Path("questions.jsonl"))]
    assert [leak.question_id for leak in find_leaks([example], asked)
            if leak.how == "exact"] == leaked


def test_the_prediction_is_put_to_the_test(settings: Settings) -> None:
    found = compare(settings, advice={"recommendation": "rag", "confidence": 0.6})
    assert (found.verdict.prediction, found.verdict.outcome) == ("rag", "undecided")
    assert load_comparison(Path(found.run)).advice == found.advice


def test_advice_for_a_model_of_another_size_is_told_of(settings: Settings) -> None:
    notes = {size: [note for note in compare(settings, advice={
        "recommendation": "rag", "scenario": {"model_size_b": size}}).notes
        if note.startswith("The advice was for a model of")] for size in (7, None)}
    assert "of 7B weights, and" in notes[7][0] and not notes[None]


def test_the_last_advice_in_the_folder_is_the_prediction(settings: Settings) -> None:
    assert compare(settings).verdict.prediction is None
    path = Path(".phi3kit/prediction.json")
    path.parent.mkdir()
    path.write_text('{"recommendation": "both", "decided": true}', encoding="utf-8")
    assert compare(settings).verdict.prediction == "both"


def test_load_gives_back_what_compare_found(settings: Settings) -> None:
    import dataclasses

    found = compare(settings, advice={"recommendation": "rag", "scenario": {"task": "qa"}})
    assert found.revised is not None and found.revised.before == "rag"
    assert load_comparison(Path(found.run)) == dataclasses.replace(found, reused_rows=0)


def test_load_refuses_what_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run folder"):
        load_comparison(tmp_path)
    other = runs.open_run(tmp_path, "finetune", {}, settings={})
    other.finish({})
    with pytest.raises(RunError, match="made by finetune"):
        load_comparison(other.path)
