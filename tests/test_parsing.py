"""Files that are no JSON or YAML in unusual ways: refused, whoever reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from phi3kit import settings
from phi3kit.advise.prediction import read_prediction
from phi3kit.advise.scenario import read_scenario
from phi3kit.compare.formats import read_formats
from phi3kit.compare.kept import read_freshness
from phi3kit.compare.questions import read_questions
from phi3kit.dataset.examples import read_examples
from phi3kit.dataset.heldout import read_held_out
from phi3kit.errors import Phi3kitError
from phi3kit.parsing import read_json
from phi3kit.runs import read_run

# Deep enough to end the stack of Python's parsers, and of libyaml the whole process.
DEEP = 200_000


def _formats(path: Path) -> object:
    return read_formats(path)


def _freshness(path: Path) -> object:
    return read_freshness(path.parent)


def _settings(path: Path) -> object:
    return settings.load(folder=path.parent)


def _run(path: Path) -> object:
    return read_run(path.parent)


@pytest.mark.parametrize("text", ["[" * DEEP, "[" * DEEP + "]" * DEEP, '{"a":' * DEEP])
@pytest.mark.parametrize(("name", "read"), [
    ("questions.jsonl", read_questions), ("t.jsonl", read_examples), ("t.json", read_examples),
    ("scenario.yaml", read_scenario), ("formats.yaml", _formats), ("phi3kit.yaml", _settings),
    ("p.json", read_prediction), ("run.json", _run), ("freshness.json", _freshness)])
def test_nested_without_end_is_one_line(tmp_path: Path, name: str, read: Callable,
                                        text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(Phi3kitError) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "read"), [
    ("scenario.yaml", read_scenario), ("formats.yaml", _formats), ("phi3kit.yaml", _settings)])
def test_lists_of_lists_in_yaml_end_no_process(tmp_path: Path, name: str, read: Callable) -> None:
    (tmp_path / name).write_text("- " * DEEP + "x", encoding="utf-8")
    with pytest.raises(Phi3kitError, match="nested deeper than 100 levels"):
        read(tmp_path / name)


def test_held_out_questions_are_read_around_it(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text("[" * DEEP + '\n{"id": "q", "question": "Who?"}\n', encoding="utf-8")
    assert [item.id for item in read_held_out(path)] == ["q"]


@pytest.mark.parametrize("text", ['{"id": "\\ud800"}', '["\\uDFFF"]', '{"\\uD83D": 1}'])
def test_half_a_surrogate_pair_is_no_text(text: str) -> None:
    with pytest.raises(ValueError, match="surrogate pair"):
        read_json(text)


def test_whole_pairs_and_backslashes_are(tmp_path: Path) -> None:
    assert read_json('["\\ud83d\\ude00", "\\\\ud800"]') == ["😀", "\\ud800"]
