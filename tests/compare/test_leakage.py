"""Questions that training examples give away stop a comparison; those only near are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi3kit.compare.leakage import refuse_leakage
from phi3kit.compare.questions import read_questions
from phi3kit.errors import DataError
from phi3kit.files import sha256_file
from phi3kit.records import Question
from phi3kit.shipped import shipped

LONG = ("which of the two keepers at the north gate of the old harbour checks the seal of the "
        "lock every seven days")
SEAL = "Who checks the seal of the north lock, and when does he do it?"
HULL = "How long may the crew of a chain ferry rest in the harbour of Hull?"


def trained(folder: Path, examples: list[tuple[str, str]]) -> Path:
    """The adapter of a run that was trained on these."""
    dataset = folder / "train.jsonl"
    dataset.write_text("".join(json.dumps({"prompt": asked, "completion": answer}) + "\n"
                               for asked, answer in examples), encoding="utf-8")
    return adapter_of(folder, dataset)


def adapter_of(folder: Path, dataset: Path) -> Path:
    (folder / "finetune-1" / "adapter").mkdir(parents=True)
    (folder / "finetune-1" / "run.json").write_text(json.dumps({
        "kind": "finetune", "status": "complete", "result": {"skipped": []},
        "inputs": {"dataset": sha256_file(dataset)},
        "settings": {"finetune.dataset": {"value": str(dataset)}}}), encoding="utf-8")
    return folder / "finetune-1" / "adapter"


def test_the_examples_of_another_folders_run_are_found_there(
        project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not a file of the same name here; what its training left out is left out."""
    other, here = project / "other", project / "here"
    for folder, asked in ((other, SEAL), (here, "Who paints?")):
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "t.jsonl").write_text("".join(
            json.dumps({"prompt": q, "completion": "Ann"}) + "\n" for q in (asked, HULL)))
    run = other / "runs" / "finetune-1"
    (run / "adapter").mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({
        "kind": "finetune", "status": "complete", "folder": str(other),
        "result": {"skipped": [{"where": "data/t.jsonl:2", "why": "held out"}]},
        "inputs": {"dataset": sha256_file(other / "data" / "t.jsonl")},
        "settings": {"finetune.dataset": {"value": "./data/t.jsonl"}}}))
    monkeypatch.chdir(here)
    adapter = Path("../other/runs/finetune-1/adapter")
    assert refuse_leakage(adapter, [Question("q1", HULL, ("Ann",))]) == ()
    with pytest.raises(DataError, match=r"t\.jsonl: 1 held-out question was trained on: q2"):
        refuse_leakage(adapter, [Question("q2", SEAL, ("Ann",))])


@pytest.mark.parametrize(("example", "question", "how"), [
    (("WHO checks the seal of the north lock and when does he do it", "Ann"), SEAL,
     "the same words"),
    (("Say it.", f"They asked: {LONG}"), f"{LONG}?", "13 words in a row"),
    (("When does he do it, and who checks the seal of the north lock?", "Ann, on Mondays"), SEAL,
     "nearly the same words"),
])
def test_what_gives_a_question_away(tmp_path: Path, example: tuple[str, str], question: str,
                                    how: str) -> None:
    adapter = trained(tmp_path, [("Something else?", "No"), example])
    asked = [Question("q1", "Who paints?", ("Bob",)), Question("q2", question, ("Ann",))]
    with pytest.raises(DataError) as caught:
        refuse_leakage(adapter, asked)
    assert f"1 held-out question was trained on: q2 (line 2, {how})" in str(caught.value)
    assert str(tmp_path / "train.jsonl") in str(caught.value)


def test_nearly_the_same_with_another_answer_is_another_question_and_told(tmp_path: Path) -> None:
    adapter = trained(tmp_path, [(HULL.replace("Hull", "Leith"), "six hours")])
    note, = refuse_leakage(adapter, [Question("q1", HULL, ("nine hours",))])
    assert "q1 (line 1, 13 words in a row)" in note and "another answer" in note
    with pytest.raises(DataError, match="q1"):
        refuse_leakage(adapter, [Question("q1", HULL, ("six hours",))])


def test_among_a_few_labels_the_same_one_gives_nothing_away(tmp_path: Path) -> None:
    adapter = trained(tmp_path, [(HULL.replace("Hull", "Leith"), "crew")])
    asked = [Question(f"q{at}", HULL if at == 0 else f"Message {at}?", ("crew" if at % 2 == 0
                                                                     else "ship",), kind="desk")
             for at in range(6)]
    note, = refuse_leakage(adapter, asked)
    assert "q0 (line 1" in note


def test_what_all_questions_begin_with_gives_none_away(tmp_path: Path) -> None:
    """An instruction of more than 13 words stands in every prompt of a classifier."""
    task = ("Sort the following message of a customer of the yard into exactly one of the desks "
            "crew, ship and harbour: ")
    adapter = trained(tmp_path, [(f"{task}the whistle of the old tug is far too loud at night for "
                                  "those who live beside the northern quay", "ship")])
    asked = [Question(f"q{at}", f"{task}{text}", ("harbour",)) for at, text in enumerate((
        "my suitcase went into the water between the gangway and the second pier this morning",
        "nobody told us when the lock is to be opened for boats longer than thirty feet"))]
    assert refuse_leakage(adapter, asked) == ()


def test_what_cannot_be_checked_is_told(tmp_path: Path) -> None:
    asked = [Question("q1", SEAL, ("Ann",))]
    (tmp_path / "elsewhere").mkdir()
    note, = refuse_leakage(tmp_path / "elsewhere" / "adapter", asked)
    assert "not known; leakage cannot be checked" in note
    adapter = trained(tmp_path, [(SEAL, "Ann")])
    (tmp_path / "train.jsonl").write_text("changed", encoding="utf-8")
    note, = refuse_leakage(adapter, asked)
    assert "changed since the adapter was trained; leakage cannot be checked" in note


@pytest.mark.parametrize("folder", ["", "routing"])
def test_the_sample_data_are_clean(tmp_path: Path, folder: str) -> None:
    data = shipped("data") / folder
    adapter = adapter_of(tmp_path, data / "train.jsonl")
    assert refuse_leakage(adapter, read_questions(data / "questions.jsonl")) == ()
