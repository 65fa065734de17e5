"""What an export is measured on, and when its answers are to be doubted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi3kit import runs
from phi3kit.export.measure import doubt, read_measuring
from phi3kit.export.source import Source, read_source
from phi3kit.records import ExportStage, Passage
from phi3kit.settings import load

HELD_OUT = [
    {"id": "1", "question": "Who holds the chain?", "answers": ["The keeper.", "keeper"]},
    {"id": "2", "question": "Who rules Mongolia?", "answers": [], "answerable": False}]


@pytest.fixture
def source(lora: Path) -> Source:
    """The run with LoRA."""
    return read_source(lora, load({}).values)


def lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def answers(source: Source, file: Path | None = None) -> list[str]:
    return [chat[-1]["content"] for chat in read_measuring(file, source).chats]


def test_the_examples_of_the_training_are_told_as_such(source: Source) -> None:
    found = read_measuring(None, source)
    assert (found.file, found.seen, len(found.chats), found.notes) == (source.dataset, True, 6, ())


def test_a_file_that_was_changed_since_is_not_what_it_was_trained_on(
    source: Source, tmp_path: Path,
) -> None:
    other = lines(tmp_path / "other.jsonl", [{"prompt": "Which?", "completion": "That."}])
    found = read_measuring(None, replace(source, dataset=other))
    assert found.seen is None
    assert "has changed since the training" in found.notes[0]


def test_examples_that_were_left_out_are_not_measured_as_trained_on(source: Source) -> None:
    left = replace(source, left_out=frozenset({6}))
    assert len(read_measuring(None, left).chats) == 5
    assert answers(left) == answers(source)[:5]


def test_held_out_questions_of_the_run_go_before_its_examples(
    source: Source, tmp_path: Path,
) -> None:
    questions = lines(tmp_path / "questions.jsonl", HELD_OUT)
    found = read_measuring(None, replace(source, questions=questions))
    assert (found.file, found.seen) == (questions, False)
    assert [chat[-1]["content"] for chat in found.chats] == ["The keeper."]
    assert answers(source, questions) == ["The keeper."]  # and as --examples


def test_a_right_answer_that_stands_in_no_list_is_not_cut_to_its_first_letter(
        source: Source, tmp_path: Path) -> None:
    questions = lines(tmp_path / "questions.jsonl", [
        {"question": "What is the capital of France?", "answers": "Paris"}, HELD_OUT[0]])
    assert answers(source, questions) == ["The keeper."]


def test_other_examples_that_were_trained_on_are_told(source: Source, tmp_path: Path) -> None:
    assert source.dataset is not None
    copy = tmp_path / "copy.jsonl"
    copy.write_text(source.dataset.read_text().splitlines()[2] + "\n")
    assert read_measuring(copy, source).seen is True
    assert read_measuring(copy, replace(source, dataset=None)).seen is None


def test_a_run_with_passages_is_measured_with_passages(
    source: Source, monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Shelf:
        fingerprint = "index"

        def retrieve(self, questions: list[str], k: int, least: float) -> list[Any]:
            return [(Passage(id="p", source="gates.md", page=None, heading="",
                             text=f"About {question}", start=0, end=1, sha256="",
                             score=0.9),)
                    for question in questions]

    monkeypatch.setattr("phi3kit.rag.retrieve.open_retriever", lambda settings: Shelf())
    own = load({"finetune.passages": 0.5}).values
    found = read_measuring(None, replace(source, settings=own, index="index"))
    carried = ["About Which gate" in chat[-2]["content"] for chat in found.chats]
    assert sum(carried) == 3
    assert found.notes == ("3 of the 6 were put with passages, as in its training",)
    assert "collection has changed" in read_measuring(
        None, replace(source, settings=own, index="another")).notes[-1]


def test_without_its_collection_it_is_measured_closed_book_and_says_so(
    source: Source, project: Path,
) -> None:
    own = load({"finetune.passages": 0.5}).values
    found = read_measuring(None, replace(source, settings=own))
    assert not any("Passages" in chat[-2]["content"] for chat in found.chats)
    assert found.notes[0].startswith("measured closed book, though it was trained with passages")


def test_files_of_a_run_are_found_from_any_folder(
    train: Callable[..., Path], project: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = {"settings": {"runs": {"value": "out/runs"}}, "folder": str(project / "then")}
    run = project / "now" / "out" / "runs" / "finetune-1"
    for place in ("now", "then"):
        (project / place).mkdir()
    (project / "then" / "a.jsonl").touch()
    assert runs.recorded_path(run, state, "a.jsonl") == project / "then" / "a.jsonl"
    (project / "now" / "a.jsonl").touch()
    assert runs.recorded_path(run, state, "a.jsonl") == project / "now" / "a.jsonl"
    assert runs.recorded_path(run, state, "none.jsonl") == Path("none.jsonl")
    assert runs.recorded_path(run, state, "/b.jsonl") == Path("/b.jsonl")


def test_a_base_in_a_folder_is_found_from_any_folder(
    lora: Path, project: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = shutil.copytree(lora, project / "runs" / "finetune-1")
    state = json.loads((run / "run.json").read_text())
    record = json.loads((run / "adapter" / "phi3kit.json").read_text())
    shutil.copytree(record["base"], project / "models" / "mine")
    (run / "run.json").write_text(json.dumps({**state, "folder": str(project)}))
    (project / "phi-4").mkdir()  # a catalog name goes before a folder
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    for name, found in (("models/mine", str(project / "models" / "mine")), ("phi-4", "phi-4")):
        (run / "adapter" / "phi3kit.json").write_text(json.dumps({**record, "base": name}))
        source = read_source(run, load({"model.dtype": "float32"}).values)
        assert source.trained.name == source.whole.name == found
        assert source.base == name  # what is shown is what was asked for


@pytest.mark.parametrize(("prompts", "same", "doubted"), [
    (8, 8, False), (8, 3, False), (8, 2, True), (6, 2, False), (6, 1, True), (4, 0, True),
    (3, 0, False), (1, 0, False)])
def test_answers_that_differ_more_than_rounding_explains(
    prompts: int, same: int, doubted: bool,
) -> None:
    told = doubt(ExportStage("merged", 1.0, 0.9, same), prompts)
    assert (told is not None) == doubted
    assert told is None or f"answers {prompts - same} of {prompts} prompts otherwise" in told


def test_the_first_form_has_nothing_before_it() -> None:
    assert doubt(ExportStage("as trained", 1.0, None, None), 8) is None
