"""Questions are read strictly: what is wrong is named by line and field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi3kit.compare.questions import read_questions
from phi3kit.errors import DataError

GOOD = {"id": "q1", "question": "Which grease?", "answers": ["number four"],
        "source_ids": ["winch.md"], "kind": "fact"}


def write(folder: Path, *records: object) -> Path:
    path = folder / "q.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n"
                            for r in records), encoding="utf-8")
    return path


def test_reads_what_is_there_and_fills_in_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, "", {"id": 2, "question": "Who?", "answerable": False},
                 json.dumps({**GOOD, "id": "q3", "question": "One\u2028line?"},
                            ensure_ascii=False))
    first, second, third = read_questions(path)
    assert first.answers == ("number four",)
    assert (first.source_ids, first.kind, first.answerable) == (("winch.md",), "fact", True)
    assert (second.id, second.answers, second.answerable) == ("2", (), False)
    assert third.question == "One\u2028line?"


@pytest.mark.parametrize(("record", "says"), [
    ({**GOOD, "id": ""}, "field 'id'"),
    ({**GOOD, "question": None}, "field 'question'"),
    ({**GOOD, "answers": "four"}, "field 'answers' must be a list"),
    ({**GOOD, "answers": []}, "field 'answers' is empty"),
    ({**GOOD, "answers": [3]}, "field 'answers'"),
    ({**GOOD, "answerable": "no"}, "field 'answerable'"),
    ({**GOOD, "answerable": False}, "field 'answers' must be empty"),
    ({**GOOD, "source_ids": "winch.md"}, "field 'source_ids'"),
    ({**GOOD, "kind": 3}, "field 'kind'"),
    (GOOD, "stands on line 1"),
    ("{", "not valid JSON"),
    ("[]", "JSON object"),
    ('{"id": "q2", "question": "\\ud800", "answers": ["a"]}', "half of a surrogate pair"),
    ("[" * 200_000, "nested too deeply"),
])
def test_names_line_and_field(tmp_path: Path, record: object, says: str) -> None:
    path = write(tmp_path, GOOD, record)
    with pytest.raises(DataError, match=says) as caught:
        read_questions(path)
    assert f"{path}:2" in str(caught.value)


def test_an_empty_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no questions"):
        read_questions(write(tmp_path, ""))
    with pytest.raises(DataError, match="no such file"):
        read_questions(tmp_path / "none.jsonl")


def test_a_format_that_is_described_nowhere_is_named_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, {**GOOD, "format": "code"}, {**GOOD, "id": "q2", "format": "ticket"})
    assert len(read_questions(path)) == len(read_questions(path, {"code", "ticket"})) == 2
    with pytest.raises(DataError, match=r"'ticket' is described nowhere.*compare\.formats") as said:
        read_questions(path, {"code": None})
    assert str(said.value).startswith(f"{path}:2: field 'format'")


def test_unknown_keys_are_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_questions(write(tmp_path, {**GOOD, "topic": 1}, {**GOOD, "id": "q2", "topic": 2}))
    assert capsys.readouterr().err.count("topic") == 1
