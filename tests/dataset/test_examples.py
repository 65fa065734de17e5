from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi3kit.dataset.examples import read_examples
from phi3kit.errors import DataError

QA = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
FORMATS = {
    "messages": {"messages": [{"role": "system", "content": "s"}, *QA]},
    "prompt/completion": {"prompt": "q", "completion": "a"},
    "Alpaca": {"instruction": "q", "input": "", "output": "a"},
    "ShareGPT": {"conversations": [{"from": "human", "value": "q"},
                                   {"from": "gpt", "value": "a"}]},
    "question/answer": {"question": "q", "answer": "a"},
}


def write(path: Path, *records: object) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records),
                    encoding="utf-8")
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_named_and_means_the_same(tmp_path: Path, name: str) -> None:
    read = read_examples(write(tmp_path / "d.jsonl", FORMATS[name]))
    assert read.format == name
    assert [m for m in read.examples[0].messages if m["role"] != "system"] == QA
    assert read.examples[0].system == ("s" if name == "messages" else None)
    assert read.failures == ()


def test_alpaca_input_and_system_are_part_of_the_prompt(tmp_path: Path) -> None:
    example = read_examples(write(tmp_path / "d.jsonl", {
        "instruction": "Label it.", "input": "pump stopped", "output": "pump_fault",
        "system": "Be brief."})).examples[0]
    assert example.question == "Label it.\n\npump stopped"
    assert example.system == "Be brief."


def test_conversational_prompt_completion(tmp_path: Path) -> None:
    read = read_examples(write(tmp_path / "d.jsonl", {"prompt": QA[:1], "completion": QA[1:]}))
    assert list(read.examples[0].messages) == QA


def test_answers_in_a_conversational_prompt_are_not_trained(tmp_path: Path) -> None:
    read = read_examples(write(tmp_path / "d.jsonl", {"prompt": [*QA, QA[0]],
                                                      "completion": QA[1:]}))
    assert [turn.get("weight", 1) for turn in read.examples[0].messages[1::2]] == [0, 1]


def test_labels_and_sources_are_kept(tmp_path: Path) -> None:
    example = read_examples(write(tmp_path / "d.jsonl", {
        **FORMATS["question/answer"], "kind": "fact", "source_ids": ["a.md"]})).examples[0]
    assert (example.kind, example.source_ids) == ("fact", ("a.md",))


BAD = {
    "label: false, so this answer is one that is not wanted": {
        "prompt": "q", "completion": "a", "label": False},
    "completion: the answer is missing": {"prompt": "q", "completion": None},
    "assistant: empty answer": {"prompt": "q", "completion": "  "},
    "user: empty question": {"prompt": "", "completion": "a"},
    "completion: not a text": {"prompt": "q", "completion": 7},
    "not an object": ["q", "a"],
    "not valid JSON": '{"prompt": "q", ',
    "its fields: question_text": {"question_text": "q"},
    "a question/answer example in a prompt/completion file": {"question": "q", "answer": "a"},
    "kind: not a text": {"prompt": "q", "completion": "a", "kind": 3},
    "source_ids: not a list": {"prompt": "q", "completion": "a", "source_ids": {"a": 1}},
}


@pytest.mark.parametrize("why", BAD)
def test_a_bad_example_is_named_by_line_and_the_others_go_on(tmp_path: Path, why: str) -> None:
    good = FORMATS["prompt/completion"]
    path = write(tmp_path / "d.jsonl", good, "", BAD[why], good)
    read = read_examples(path)
    assert [e.line for e in read.examples] == [1, 4]
    [failure] = read.failures
    assert failure.where == f"{path}:3"
    assert why in failure.why
    assert failure.why.count(". ") >= 1  # the mend follows


@pytest.mark.parametrize(("turns", "why"), [
    (QA[:1], "the answer is missing"),
    (QA[1:], "turn 1 is 'assistant', expected 'user'"),
    ([QA[0], QA[0], QA[1]], "turn 2 is 'user', expected 'assistant'"),
    ([{"role": "tool", "content": "x"}, *QA], "turn 1 has the role 'tool'"),
    ([{"role": "user"}, QA[1]], "turn 1 has no text in 'content'"),
    ([QA[0], {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
     "turn 2 calls a tool"),
    ([{"role": "user", "content": [{"type": "image_url"}]}, QA[1]], "turn 1 has no text"),
    (["q", "a"], "turn 1 is not an object"),
    ("q", "not a list of turns"),
    ([], "not a list of turns"),
])
def test_wrong_roles_are_named(tmp_path: Path, turns: object, why: str) -> None:
    read = read_examples(write(tmp_path / "d.jsonl", {"messages": QA}, {"messages": turns}))
    assert len(read.examples) == 1
    assert why in read.failures[0].why


def test_json_array_knows_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text('[\n {"prompt": "q",\n  "completion": "a"},\n {"prompt": "q"},\n'
                    ' {"prompt": "q", "completion": "a"}\n]')
    read = read_examples(path)
    assert [e.line for e in read.examples] == [2, 5]
    assert read.failures[0].where == f"{path}:4"


def test_items_that_share_a_line_are_told_apart_by_their_place(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    item = FORMATS["prompt/completion"]
    path.write_text(json.dumps([item, {"prompt": "q"}, item]))
    read = read_examples(path)
    assert [e.line for e in read.examples] == [1, 3]
    assert read.failures[0].where == f"{path}:2"
    one = json.dumps(item)
    path.write_text(f"[\n{one},\n{one}, {one},\n\n{one}]")
    assert [e.line for e in read_examples(path).examples] == [1, 2, 3, 4]


def test_broken_json_array_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text('[\n {"prompt": "q", "completion": "a"},\n {"prompt" "q"}\n]')
    with pytest.raises(DataError, match=r"d\.json:3: not valid JSON"):
        read_examples(path)


def test_json_lines_in_a_json_file(tmp_path: Path) -> None:
    assert read_examples(write(tmp_path / "d.json", *[FORMATS["Alpaca"]] * 2)).format == "Alpaca"


def test_csv_with_long_quoted_cells_and_a_short_row(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    long = "word " * 40000
    path.write_text(f'prompt,completion\n"two\nlines","a, b"\nonly one\nq,{long}\n')
    read = read_examples(path)
    assert read.examples[0].question == "two\nlines"
    assert [e.line for e in read.examples] == [2, 5]
    assert read.failures[0].where == f"{path}:4"


def test_columns_without_a_name_may_be_several(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"  # as a spreadsheet leaves them
    path.write_text("question,answer,,\nq,a,,\n")
    assert len(read_examples(path).examples) == 1


def test_a_space_behind_the_commas_is_no_part_of_names_and_cells(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text('question , answer\nq, "a, b"\n')
    assert [m["content"] for m in read_examples(path).examples[0].messages] == ["q", "a, b"]


@pytest.mark.parametrize("record", [
    {"messages": [{"role": "developer", "content": "s"}, *QA]},
    {"system": "s", "messages": QA},
    {"messages": [{"role": "system", "content": [{"type": "text", "text": "s"}]}, *QA]},
    {"system": "s", "conversations": QA},
    {"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "q"},
                       {"from": "gpt", "value": "a"}]},
])
def test_a_chat_is_read_however_its_writers_spell_it(tmp_path: Path, record: object) -> None:
    read = read_examples(write(tmp_path / "d.jsonl", record))
    assert list(read.examples[0].messages) == [{"role": "system", "content": "s"}, *QA]
    assert read.unread == {}


def test_fields_that_are_not_read_are_told(tmp_path: Path) -> None:
    """What stands in them would be missed: a context, or what was thought before an answer."""
    read = read_examples(write(
        tmp_path / "d.jsonl", {"question": "q", "answer": "a", "context": "c", "id": 4},
        {"question": "q", "answer": "a", "context": ""}, {"question": "q", "context": "c"}))
    assert read.unread == {"context": 1}
    assert read.told_unread == "fields that are not read, by examples: 'context' in 1"
    thought = read_examples(write(tmp_path / "t.jsonl", {
        "messages": [QA[0], {**QA[1], "reasoning": "r"}], "tools": [{"name": "t"}]}))
    assert thought.unread == {"messages.reasoning": 1, "tools": 1}


def test_csv_cells_may_hold_turns(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    cell = json.dumps(QA).replace('"', '""')
    path.write_text(f'messages,kind\n"{cell}",fact\n')
    assert list(read_examples(path).examples[0].messages) == QA


@pytest.mark.parametrize(("name", "content", "why"), [
    ("d.jsonl", b"", "no examples in it"),
    ("d.jsonl", b'{"a": 1}', "no known example format .line 1 has the fields: a"),
    ("d.jsonl", b"\xff\xfe", "not UTF-8"),
    ("d.parquet", b"", "is no format of examples"),
    ("d.jsonl", None, "no such file"),
])
def test_a_useless_file_is_one_error(tmp_path: Path, name: str, content: bytes | None,
                                     why: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=why):
        read_examples(tmp_path / name)


QA_JSON = json.dumps({"question": "q", "answer": "a"})


@pytest.mark.parametrize(("name", "content", "where", "why"), [
    ("a.json", f"[\n{QA_JSON}\n]\n{QA_JSON}", ":3", "text after the closing ]"),
    ("a.json", json.dumps({"data": [{"question": "q", "answer": "a"}]}, indent=1), "",
     "Write the list under 'data' alone"),
    ("a.csv", "Question;Answer\nq;a\n", ":1", "separated by semicolons"),
    ("a.csv", "question\tanswer\nq\ta\n", ":1", "separated by tabs"),
    ("a.csv", '"question";"answer"\n"q";"a"\n', ":1", "separated by semicolons"),
    ("a.csv", '"question"\t"answer"\n"q"\t"a"\n', ":1", "separated by tabs"),
    ("a.csv", 'question,answer\nq,a\n"two\nlines","open\nq,a\nq,a\n', ":4",
     "a quote opens here and is closed nowhere: lines 4 to 6 would be lost"),
    ("a.csv", '"ques"tion,answer\nq,a\n', ":1", "its header is not valid CSV"),
    ("a.csv", "question,answer,answer\nq,a,b\n", ":1", "two of its columns are called 'answer'"),
    ("a.jsonl", json.dumps({"prompt": "q", "chosen": "a", "rejected": "b"}), "",
     "write what is in 'chosen' as completion"),
    ("a.jsonl", f"[{QA_JSON}]", "", "or the list alone into a .json file"),
    ("a.jsonl", '{"question": "a\\ud800b", "answer": "x"}', ":1", "surrogate"),
    ("a.json", '[{"question": "a\\ud800b", "answer": "x"}]', ":1", "surrogate"),
])
def test_a_file_that_is_nearly_right_says_what_to_do(
    tmp_path: Path, name: str, content: str, where: str, why: str,
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        found = read_examples(path)
        assert not found.examples and not found.failures  # never read as if it were whole
    said = str(caught.value)
    assert why in said and "\n" not in said and said.startswith(f"{path}{where}")


def test_one_object_over_several_lines_is_one_example(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("\n" + json.dumps({"messages": QA}, indent=2))
    read = read_examples(path)
    assert [example.line for example in read.examples] == [2] and not read.failures


def test_half_a_character_in_a_list_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(f'[{QA_JSON},\n{{"question": "a\\ud800b", "answer": "x"}},\n{QA_JSON}]')
    read = read_examples(path)
    assert [example.line for example in read.examples] == [1, 3]
    assert [failure.where for failure in read.failures] == [f"{path}:2"]


@pytest.mark.parametrize(("weights", "why"), [
    ((0, 0), "every answer has the weight 0"), ((0.5, 1), "turn 2 has the weight 0.5. Use 0 or 1"),
    ((0, None), ""), ((0, 1), "")])
def test_weights_of_the_chat_format(tmp_path: Path, weights: tuple[object, object],
                                    why: str) -> None:
    turns = [{**turn, "weight": weights[at // 2]} if at % 2 else turn
             for at, turn in enumerate(QA * 2)]
    read = read_examples(write(tmp_path / "d.jsonl", {"messages": turns}, {"messages": QA}))
    assert [f.why.partition(": ")[2][:len(why)] or f.why for f in read.failures] == (
        [why] if why else [])
    if not why:
        assert [turn.get("weight", 1) for turn in read.examples[0].messages[1::2]] == [0, 1]


GIVEN = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]


@pytest.mark.parametrize(("record", "mark"), [
    ({"prompt": "q", "completion": "a", "label": 0}, "label: 0"),
    ({"question": "q", "answer": "a", "label": "False"}, "label: False"),
    ({"messages": QA, "label": False}, "label: false"),
    ({"conversations": GIVEN, "kto_tag": False}, "kto_tag: false")])
def test_an_answer_that_is_not_wanted_is_refused_in_every_format(
        tmp_path: Path, record: dict[str, object], mark: str) -> None:
    [name] = {"label", "kto_tag"} & record.keys()
    good = {**record, name: True}
    read = read_examples(write(tmp_path / "d.jsonl", good, record))
    assert [example.line for example in read.examples] == [1] and read.unread == {}
    assert f"{mark}, so this answer is one that is not wanted" in read.failures[0].why


@pytest.mark.parametrize("no", ["False", "false", "0"])
def test_marks_of_a_csv_are_read(tmp_path: Path, no: str) -> None:
    path = tmp_path / "d.csv"
    path.write_text(f"prompt,completion,label\nq,a,{no}\nq,b,{'1' if no == '0' else 'True'}\n")
    read = read_examples(path)
    assert [example.line for example in read.examples] == [3]
    assert read.failures[0].where == f"{path}:2"


@pytest.mark.parametrize("labels", [("spam", "0"), (0, 2), ("false alarm", "true alarm")])
def test_labels_that_are_classes_refuse_nothing(tmp_path: Path, labels: tuple[object, ...]) -> None:
    rows = [{"prompt": f"q{n}", "completion": f"a{label}", "label": label}
            for n in range(2) for label in labels]
    assert len(read_examples(write(tmp_path / "d.jsonl", *rows)).examples) == 4


def test_classes_numbered_0_and_1_are_told_by_their_answers(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "completion": ("ham", "spam")[n % 2], "label": n % 2}
            for n in range(4)]
    assert len(read_examples(write(tmp_path / "d.jsonl", *rows)).examples) == 4
    rows[0]["completion"] = "no ham"  # answers differ: the numbers say which are wanted
    assert len(read_examples(write(tmp_path / "d.jsonl", *rows)).examples) == 2


def test_chosen_beside_rejected_is_told_as_a_preference(tmp_path: Path) -> None:
    pair = {"chosen": GIVEN[1], "rejected": GIVEN[1]}
    read = read_examples(write(tmp_path / "d.jsonl", {"conversations": GIVEN},
                               {"conversations": GIVEN[:1], **pair}))
    assert "These are preferences" in read.failures[0].why
    # The chosen chat as messages too, as UltraFeedback has it.
    assert read_examples(write(tmp_path / "u.jsonl", {
        "messages": QA, "chosen": QA, "rejected": QA[:1]})).examples


def test_csv_cells_of_prompt_and_completion_may_hold_turns(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    cells = [json.dumps(part).replace('"', '""') for part in (QA[:1], QA[1:])]
    path.write_text('prompt,completion\n"{}","{}"\n'.format(*cells))
    assert list(read_examples(path).examples[0].messages) == QA
    answer = '[{"role": "pump"}]'  # an answer in JSON stays what it is
    path.write_text('prompt,completion\nq,"{}"\n'.format(answer.replace('"', '""')))
    assert read_examples(path).examples[0].messages[-1]["content"] == answer


def test_a_quote_that_takes_lines_along_is_told_where_it_opens(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('question,answer\nq,a\n"two\nlines", "open\nq,a\nq,"a"\nq,a\n')
    read = read_examples(path)
    assert [example.line for example in read.examples] == [2, 7]
    [failure] = read.failures
    assert failure.where == f"{path}:4" and "lines 3 to 6 are lost" in failure.why
    path.write_text('question,answer\nq,a\nq,"open\n')  # no line but its own
    assert [f.where for f in read_examples(path).failures] == [f"{path}:3"]


@pytest.mark.parametrize(("name", "content", "what"), [
    ("a.parquet", b"PAR1\xff", "load_dataset('parquet', data_files="),
    ("a.arrow", b"ARROW1\x00\x00\xff", "load_dataset('arrow', data_files="),
    ("a.jsonl", b"PAR1\xff", "holds parquet"),
    ("a.jsonl.gz", b"\x1f\x8b\x08\xff", "is compressed (gz). Unpack it first"),
    ("a.csv", b"\x1f\x8b\x08\xff", "is compressed (gz)"),
    ("a.xlsx", b"PK\x03\x04\xff", "Save the sheet as CSV"),
    ("folder", None, "is a folder. Name a file in it"),
])
def test_files_of_other_software_are_told_by_what_they_are(
        tmp_path: Path, name: str, content: bytes | None, what: str) -> None:
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_examples(path)
    assert what in str(caught.value) and "UTF-8." not in str(caught.value)
