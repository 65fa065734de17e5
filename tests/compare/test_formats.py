"""The form of answers: what keeps to it, and what is refused before anything is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi3kit.compare.formats import read_formats
from phi3kit.compare.metrics import Seen, measure
from phi3kit.errors import DataError
from phi3kit.records import Question

SCHEMA = {"type": "object", "required": ["code"], "additionalProperties": False,
          "properties": {"code": {"type": "array", "items": {"type": "integer"}}}}


def of(name: str) -> Question:
    return Question(id="q1", question="?", answers=("x",), format=name)


def valid(folder: Path, text: str, output: str, **more: bool) -> float:
    path = folder / "formats.yaml"
    path.write_text(text, encoding="utf-8")
    formats = read_formats(path)
    return measure(Seen(of("code"), output, **more), formats)["format_valid"]


@pytest.mark.parametrize(("output", "worth"), [
    ("TB-31", 1), ("TB-31 [1].", 1), ("The code is TB-31", 0), ("tb-31", 0), ("", 0)])
def test_a_regular_expression_has_to_match_all_of_it(tmp_path: Path, output: str,
                                                     worth: float) -> None:
    assert valid(tmp_path, "code: {regex: '[A-Z]{2}-\\d+'}", output) == worth


@pytest.mark.parametrize(("output", "worth"), [
    ('{"code": [1]}', 1), ('{"code": []} [2]', 1), ('{"code": "1"}', 0), ("{}", 0),
    ("no JSON", 0), ('Sure: {"code": [1]}', 0), ("[" * 5000, 0)])
def test_a_schema(tmp_path: Path, output: str, worth: float) -> None:
    (tmp_path / "code.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    assert valid(tmp_path, "code: {schema: code.json}", output) == worth
    assert valid(tmp_path, json.dumps({"code": {"schema": SCHEMA}}), output) == worth


def test_an_error_keeps_to_no_form(tmp_path: Path) -> None:
    assert valid(tmp_path, "code: {regex: '.*'}", "", error=True) == 0


@pytest.mark.parametrize(("text", "says"), [
    ("code: {regex: '('}", "'code': not a regular expression"),
    ("code: {regex: 3}", "'code': not a regular expression"),
    ("code: {schema: {type: 3}}", "'code': not a JSON schema"),
    ("code: {schema: none.json}", "none.json: cannot be read as JSON"),
    ("code: {pattern: x}", "neither regex nor schema"),
    ("code: x", "neither regex nor schema"),
    ("- code", "expected names"),
    ("code: [", "cannot be read as YAML"),
])
def test_mistakes_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as error:
        valid(tmp_path, text, "x")
    assert "\n" not in str(error.value)


def test_no_file_and_no_format() -> None:
    assert read_formats(None) == {}
    with pytest.raises(DataError, match="no such file"):
        read_formats(Path("none.yaml"))


def test_nothing_is_fetched(tmp_path: Path) -> None:
    from speaks_openai import chat_server

    with chat_server() as server:
        schema = {"$ref": f"{server.url}/schema.json"}
        with pytest.raises(DataError, match="refers to something outside"):
            valid(tmp_path, json.dumps({"code": {"schema": schema}}), "{}")
        assert server.requests == []
