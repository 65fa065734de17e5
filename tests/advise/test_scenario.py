"""Reading scenarios: YAML's traps, and errors that name the line and the mend."""

from __future__ import annotations

import pytest

from phi3kit.advise.draft import drop_draft, read_draft, save_draft
from phi3kit.advise.interview import Interrupted, Move, interview
from phi3kit.advise.scenario import FIELDS, read_scenario, read_set
from phi3kit.errors import DataError


def read(tmp_path, text):
    path = tmp_path / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    return read_scenario(path)


def test_yaml_words_and_types(tmp_path) -> None:
    assert read(tmp_path, "citations: no\nfacts_in_request: yes\nclosed_output: yes\n"
                          "training_examples: 1_500\nmodel_size_b: 3.8\nvocabulary: null\n") == {
        "citations": "no", "facts_in_request": "yes", "closed_output": True,
        "training_examples": 1500, "model_size_b": 3.8, "vocabulary": None}


def test_json_booleans_stand_for_words(tmp_path) -> None:
    assert read(tmp_path, '{"citations": false, "facts_in_request": true}') == {
        "citations": "no", "facts_in_request": "yes"}


def test_external_facts_none_is_a_value_not_unknown(tmp_path) -> None:
    assert read(tmp_path, "external_facts: none") == {"external_facts": "none"}


@pytest.mark.parametrize(("text", "said"), [
    ("task: qa\nfact_change: daily", r":2: unknown field 'fact_change'.*'facts_change'"),
    ("task: qa\nfacts_change: weekley", r":2: 'weekley'.*'facts_change'.*'weekly'"),
    ("training_examples: many", "'many'.*whole number"),
    ("training_examples: -1", "'-1'"),
    ("training_examples: 1.5", r"'1\.5'"),
    ("model_size_b: .inf", "'model_size_b'"),
    ("model_size_b: 3,8", r":1: '3,8' is no value of 'model_size_b'\. Write 3\.8$"),
    ("gpu_memory_gb: 11,5", r"Write 11\.5$"),
    ("model_size_b: 3_8", "a number above 0"),
    ("corpus_tokens: 200.000", r"'200\.000' is no value of 'corpus_tokens'\. Write 200000$"),
    ("corpus_tokens: 1.500.000", "Write 1500000$"),
    ("corpus_tokens: 20,00", "whole number"),
    ("training_examples: 1_50", "whole number"),
    ("model_size_b: nan", "'model_size_b'"),
    ("closed_output: maybe", "true, false"),
    ("task: [qa]", "one value"),
    ("task: qa\ntask: code", ":2: the field 'task' stands twice"),
    ("- task", "field: value"),
    ("[task]: qa", ":1: a field's name"),
    ("task: {", "not valid YAML"),
])
def test_errors_name_line_field_and_mend(tmp_path, text, said) -> None:
    with pytest.raises(DataError, match=said) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_missing_and_binary_file(tmp_path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_scenario(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"task: \xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_scenario(tmp_path / "b.yaml")


def test_empty_file_is_a_scenario(tmp_path) -> None:
    assert read(tmp_path, "# nothing known\n") == {}


def test_thousands_may_be_parted() -> None:
    assert read_set(["corpus_tokens=200,000", "training_examples=1_500", "gpu_memory_gb=1,024.5",
                     "model_size_b=3.821"]) == {
        "corpus_tokens": 200_000, "training_examples": 1500, "gpu_memory_gb": 1024.5,
        "model_size_b": 3.821}


def test_set() -> None:
    assert read_set(["citations=no", "model_size_b=7"]) == {"citations": "no",
                                                            "model_size_b": 7.0}
    with pytest.raises(DataError, match="not field=value"):
        read_set(["citations"])


def test_interview_back_skip_and_rest() -> None:
    script = iter(["qa", Move.BACK, "code", Move.SKIP, Move.REST])
    asked = []

    def ask(field, number, total, now):
        asked.append((field.name, number, total, now))
        return next(script)

    assert interview(ask) == {"task": "code", "external_facts": None}
    assert asked[2] == ("task", 1, len(FIELDS), "qa")


def test_interrupted_interview_goes_on(project) -> None:
    def stop_at_third(field, number, total, now):
        if number == 3:
            raise KeyboardInterrupt
        return {"task": "qa", "external_facts": Move.SKIP}[field.name]

    with pytest.raises(Interrupted) as stop:
        interview(stop_at_third)
    save_draft(stop.value.answers)
    begun = read_draft()
    assert begun == {"task": "qa", "external_facts": None}
    first = []
    interview(lambda field, *_: first.append(field.name) or Move.REST, begun)
    assert first == ["facts_in_request"]
    drop_draft()
    assert read_draft() == {}


def test_draft_keeps_words_that_yaml_would_change(project) -> None:
    answers = {"external_facts": "none", "facts_in_request": "no", "closed_output": False,
               "training_examples": 0, "model_size_b": 0.135}
    save_draft(answers)
    assert read_draft() == answers
