"""`phi3kit dataset`, as a user runs it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import speaks_openai
from speaks_openai import chat_server

FACTS = {"north": "11 tonnes", "south": "22 tonnes", "west": "33 tonnes", "east": "44 tonnes"}


def write(path: Path, rows: list[dict[str, Any]], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail, encoding="utf-8")
    return path


def test_check_names_format_faults_and_leaks_and_draws_the_mask(run_cli, tiny_phi3, tmp_path):
    write(tmp_path / "t.jsonl", [
        {"instruction": "Label [red]this[/red] ticket.", "output": "pump"},
        {"instruction": "Who checks the seal?", "output": "the keeper"},
        {"instruction": "Label [red]this[/red] ticket.", "output": "gate"},
        {"instruction": "x"}])
    write(tmp_path / "q.jsonl", [{"id": "q1", "question": "who checks the SEAL",
                                  "answers": ["the keeper"]}])
    args = ("dataset", "check", "t.jsonl", "--questions", "q.jsonl", "--model", str(tiny_phi3))
    done = run_cli(*args)
    assert done.returncode == 0, done.stderr
    assert "Alpaca format" in done.stdout and "⟦pump<|end|>⟧" in done.stdout
    assert "Label [red]this[/red] ticket." in done.stdout  # text is no markup
    assert re.search(r"t\.jsonl:4: .*output", done.stdout)
    assert "t.jsonl:2 asks the held-out question 'q1' (q.jsonl:1)" in done.stdout
    assert "t.jsonl:1 has the prompt of line 3" in done.stdout
    strict = run_cli(*args, "--strict", "--json")
    assert strict.returncode == 1
    report = json.loads(strict.stdout)
    assert report["examples"] == 2 and len(report["skipped"]) == 2
    for mask in report["masks"]:
        assert mask["trained"] > 0
        assert [s["trained"] for s in mask["spans"]].count(True) == 1


def test_finetune_looks_first_and_writes_down_what_it_saw(run_cli, tiny_phi3, tmp_path):
    rows = [{"question": "Who keeps the seal?", "answer": "the keeper"}] * 3
    rows += [{"question": "Who keeps the seal?", "answer": "nobody"},
             {"question": "Who opens the north gate?", "answer": "the smith"},
             {"question": "Long? " * 400, "answer": "yes"}]
    write(tmp_path / "t.jsonl", rows)
    write(tmp_path / "q.jsonl", [{"id": "q1", "question": "Who opens the gate north?",
                                  "answers": ["the smith"]}])
    (tmp_path / "phi3kit.yaml").write_text(
        "compare: {questions: q.jsonl}\nfinetune: {max_tokens: 128}\n")
    args = ("finetune", "--dataset", "t.jsonl", "--model", str(tiny_phi3), "--epochs", "1")
    done = run_cli(*args, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    data = report["data"]
    assert (data["copies"], data["near_copies"], data["conflicts"]) == (2, 0, 4)
    assert [(leak["line"], leak["how"]) for leak in data["leaks"]] == [(5, "near")]
    assert data["lengths"]["cut"] == 1 and data["lengths"]["limit"] == 128
    assert data["lengths"]["lost"] == data["lengths"]["most"] - 128 > 0
    said = done.stderr
    assert "1 are longer than 128 and lose" in said and "2 exact and 0 near copies; 4 have" in said
    assert said.index("exact and") < said.index("training")  # before, not after
    again = run_cli(*args)
    assert "reused" in again.stdout and "1 close to a held-out question" in again.stdout


def test_finetune_strict_stops_before_it_trains(run_cli, tiny_phi3, tmp_path):
    write(tmp_path / "t.jsonl", [{"question": "Who?", "answer": "me"}] * 3, tail="{oops\n")
    args = ("finetune", "--dataset", "t.jsonl", "--model", str(tiny_phi3), "--epochs", "1")
    stopped = run_cli(*args, "--strict")
    assert stopped.returncode == 1 and "t.jsonl:4" in stopped.stderr
    assert "--strict" in stopped.stderr and not (tmp_path / "runs").exists()
    assert run_cli(*args).returncode == 0  # without it, the others are trained on
    assert run_cli(*args, "--strict").returncode == 1  # a finished run is no way around it
    # What only the tokenizer can tell stops it as well.
    write(tmp_path / "t.jsonl", [{"question": "Who?", "answer": "me"},
                                 {"question": "Who?", "answer": "me and " * 400}])
    (tmp_path / "phi3kit.yaml").write_text("finetune: {max_tokens: 128}\n")
    too_long = run_cli(*args, "--strict")
    assert too_long.returncode == 1 and "t.jsonl:2" in too_long.stderr
    assert len(list(tmp_path.rglob("adapter"))) == 1


def test_strict_stops_at_leaks_conflicts_and_cuts_too(run_cli, tiny_phi3, tmp_path):
    ok = {"question": "Who opens the gate?", "answer": "me"}
    write(tmp_path / "q.jsonl", [{"id": "q", "question": "Who checks the seal of lock four?"}])
    for row, said in (({"question": "Who checks the seal of the lock four?", "answer": "me"},
                       "1 are close to a held-out question"),
                      ({**ok, "answer": "nobody"}, "2 have the prompt of another"),
                      ({"question": "Who? " * 400, "answer": "me"}, "1 are longer than 512")):
        write(tmp_path / "t.jsonl", [ok, row])
        args = ("t.jsonl", "--questions", "q.jsonl", "--model", str(tiny_phi3))
        assert run_cli("dataset", "check", *args).returncode == 0
        assert run_cli("dataset", "check", *args, "--strict").returncode == 1
        (tmp_path / "phi3kit.yaml").write_text("compare: {questions: q.jsonl}\n")
        done = run_cli("finetune", "--dataset", "t.jsonl", "--model", str(tiny_phi3), "--strict")
        assert done.returncode == 1 and said in done.stderr.splitlines()[-1]
        assert not list(tmp_path.rglob("adapter"))


def test_control_tokens_in_the_texts_are_counted(run_cli, tiny_phi3, tmp_path):
    write(tmp_path / "t.jsonl", [{"question": "Who?", "answer": "me"},
                                 {"question": "What is <|end|>?", "answer": "a token"}])
    done = run_cli("dataset", "check", "t.jsonl", "--model", str(tiny_phi3))
    assert "1 hold control tokens" in done.stdout and "t.jsonl:2" in done.stdout
    trained = run_cli("finetune", "--dataset", "t.jsonl", "--model", str(tiny_phi3),
                      "--epochs", "1", "--json")
    assert json.loads(trained.stdout)["data"]["control"] == 1
    assert "1 hold control tokens" in trained.stderr


def test_the_model_is_looked_at_with_the_data(run_cli, tiny_phi3, tmp_path):
    write(tmp_path / "t.jsonl", [{"question": "Who?", "answer": "me"}])
    args = ("dataset", "check", "t.jsonl", "--model")
    done = run_cli(*args, str(tiny_phi3))
    assert done.returncode == 0
    assert "  adapter   on down_proj, gate_up_proj, o_proj, qkv_proj\n" in done.stdout
    assert "  template  <|user|>, <|end|>, <|assistant|>, <|endoftext|>, each one token" in (
        done.stdout)
    away = run_cli(*args, "some/model", "--json")
    assert away.returncode == 0
    assert "looked at when training starts" in json.loads(away.stdout)["preflight"]["unseen"][0]
    split = shutil.copytree(tiny_phi3, tmp_path / "split")
    template = split / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|end|>", "<|eot|>"))
    wrong = run_cli(*args, str(split))
    assert wrong.returncode == 1 and "  problem   " in wrong.stdout and "<|eot|>" in wrong.stdout
    assert json.loads(run_cli(*args, str(split), "--json").stdout)["preflight"]["problems"]


def test_split_succeeds_as_check_does_where_a_line_is_left_out(run_cli, tmp_path):
    write(tmp_path / "t.jsonl", [{"question": f"What is {n}?", "answer": "x"} for n in "abcdef"],
          tail="{oops\n")
    done = run_cli("dataset", "split", "t.jsonl", "--out", "cut")
    assert done.returncode == 0 and "Left out: 1" in done.stdout and "t.jsonl:7" in done.stdout
    assert (tmp_path / "cut" / "train.jsonl").is_file()


def test_a_model_that_is_not_there_is_told_from_one_without_a_template(run_cli, tiny_phi3,
                                                                       tmp_path):
    write(tmp_path / "t.jsonl", [{"question": "Who?", "answer": "me"}])
    wrong = run_cli("dataset", "check", "t.jsonl", "--model", "phi3-mini")
    assert wrong.returncode == 1 and "Did you mean 'phi-3-mini'?" in wrong.stderr
    bare = shutil.copytree(tiny_phi3, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    without = run_cli("dataset", "check", "t.jsonl", "--model", str(bare))
    assert without.returncode == 1 and "no chat template" in without.stderr
    assert "instruct" in without.stderr and without.stderr.count("\n") == 1
    (bare / "tokenizer.json").unlink()
    (bare / "tokenizer_config.json").unlink()
    away = run_cli("dataset", "check", "t.jsonl", "--model", str(bare))
    assert away.returncode == 0 and "give its folder with --model" in away.stdout


def test_mistakes_are_one_line(run_cli, tmp_path):
    write(tmp_path / "t.jsonl", [{"question": f"What is {n}?", "answer": "x"} for n in "abcdef"])
    for args, code, why in ((["check"], 2, "no dataset"),
                            (["check", "absent.jsonl"], 1, "no such file"),
                            (["check", "t.jsonl", "--questions", "absent.jsonl"], 1,
                             "absent.jsonl: the held-out questions cannot be read"),
                            (["split", "t.jsonl", "--out", "t.jsonl"], 1, "cannot be written"),
                            (["synth", "--out", "a", "--count", "1"], 1, "ingest")):
        done = run_cli("dataset", *args)
        assert done.returncode == code and why in done.stderr and done.stderr.count("\n") == 1
    assert run_cli("dataset", "split", "x.jsonl").returncode == 2  # --out is missing


def reply(body: dict[str, Any]) -> str:
    """A model that reads: it asks about the passage's crane, and knows the east crane by heart."""
    said = body["messages"][-1]["content"]
    gate = re.search(r"\b(north|south|west|east)\b", said)
    name = gate.group(1) if gate else ""
    if "Write one question" in said:
        if name == "west":
            return "Here is something about cranes."
        return f"Question: What does the {name} crane lift?\nAnswer: {FACTS[name]}"
    asked = re.findall(r"What does the (\w+) crane lift", said)[-1]
    knows = "Passages:" in said or asked == "east"
    return FACTS[asked] if knows else "I do not know."


@pytest.fixture
def cranes(project: Path, run_cli, monkeypatch) -> Path:
    (project / "docs").mkdir()
    for name, load in FACTS.items():
        (project / "docs" / f"{name}.md").write_text(
            f"The {name} crane stands at the {name} gate. It lifts {load} at its full reach.\n")
    assert run_cli("ingest", "docs", cwd=project).returncode == 0
    monkeypatch.setattr(speaks_openai._Handler, "_answer", lambda self, body: reply(body))
    return project


@pytest.mark.model
def test_synth_keeps_what_holds_counts_the_rest_and_goes_on(cranes: Path, run_cli):
    write(cranes / "q.jsonl", [{"id": "q", "question": "What does the south crane lift?",
                                "answers": ["22 tonnes"]}])
    args = ("dataset", "synth", "--out", "s.jsonl", "--count", "3", "--questions", "q.jsonl",
            "--model", "m", "--json")
    with chat_server() as server:
        done = run_cli(*args, "--generator", server.url, cwd=cranes)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        [pair] = [json.loads(line) for line in (cranes / "s.jsonl").read_text().splitlines()]
        assert (pair["question"], pair["answer"]) == ("What does the north crane lift?",
                                                      "11 tonnes")
        assert pair["source_ids"] == ["docs/north.md"] and pair["chunk_id"]
        assert report["pairs"] == 1 and report["tried"] == 12
        # West never parses; south is held out; north and east are asked again in each round.
        assert report["dropped"] == {
            "not parseable": 3, "answer not in the passage": 0, "asked before or held out": 7,
            "not answered right with the passage": 0,
            "answered right without the passage": 1}
        assert run_cli(*args, "--generator", server.url, cwd=cranes).returncode == 1  # is there
        # Killed after four attempts and half a line: the same command makes the same file.
        rows = cranes / "s.jsonl.rows"
        whole, first = rows.read_text(), (cranes / "s.jsonl").read_text()
        rows.write_text("".join(line + "\n" for line in whole.splitlines()[:5]) + '{"chunk')
        (cranes / "s.jsonl").unlink()
        again = run_cli(*args, "--generator", server.url, cwd=cranes)
        assert json.loads(again.stdout)["reused"] == 4
        assert (rows.read_text(), (cranes / "s.jsonl").read_text()) == (whole, first)
        other = run_cli(*args, "--generator", server.url, "--seed", "5", "--force", cwd=cranes)
        assert other.returncode == 1 and "begun with another seed" in other.stderr


@pytest.mark.model
def test_synth_drops_what_the_passage_does_not_say_and_what_it_did_not_help(
        cranes: Path, run_cli, monkeypatch):
    def answer(self: Any, body: dict[str, Any]) -> str:
        said = body["messages"][-1]["content"]
        if "Write one question" in said and "east crane" in said:
            return "Question: What does the east crane lift?\nAnswer: 99 tonnes"
        if "south crane lift?\nAnswer:" in said:  # with the passage
            return "It lifts a boat."
        return reply(body)

    monkeypatch.setattr(speaks_openai._Handler, "_answer", answer)
    args = ("dataset", "synth", "--out", "s.jsonl", "--count", "1", "--model", "m", "--json")
    with chat_server() as server:
        server.orders += [400, 400, 400]  # three of the four passages, once
        first = json.loads(run_cli(*args, "--generator", server.url, cwd=cranes).stdout)
        (cranes / "s.jsonl").unlink(missing_ok=True)
        done = run_cli(*args[:5], "9", *args[6:], "--generator", server.url, cwd=cranes)
        # A question that is held out later is no longer among the pairs.
        write(cranes / "q.jsonl", [{"id": "q", "question": "What does the NORTH crane lift",
                                    "answers": ["11 tonnes"]}])
        late = run_cli(*args, "--force", "--questions", "q.jsonl", "--generator", server.url,
                       cwd=cranes)
    report = json.loads(done.stdout)
    assert first["failed"] == 3 and report["failed"] == 0
    rows = [json.loads(line) for line in (cranes / "s.jsonl.rows").read_text().splitlines()[1:]]
    assert len(rows) == report["tried"] == 12  # what had failed was tried again
    again = "asked before or held out"
    assert {(row["source"][5:-3], row["dropped"]) for row in rows} == {
        ("north", ""), ("north", again), ("west", "not parseable"),
        ("east", "answer not in the passage"), ("south", again),
        ("south", "not answered right with the passage")}
    assert late.returncode == 1 and json.loads(late.stdout)["pairs"] == 0
    assert not (cranes / "s.jsonl").exists()


@pytest.mark.model
def test_raft_shows_what_ask_shows_and_abstains_without_the_right_passage(cranes: Path, run_cli):
    write(cranes / "t.jsonl", [
        *({"question": f"What does the {name} crane lift?", "answer": f"It lifts {load}.",
           "source_ids": [f"docs/{name}.md"]} for name, load in FACTS.items()),
        {"question": "What does the north crane lift in winter?", "answer": "99 tonnes"}])
    args = ("dataset", "raft", "t.jsonl", "--passages", "2", "--json")
    done = run_cli(*args, "--out", "r.jsonl", "--without", "0.5", cwd=cranes)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["examples"], report["abstaining"]) == (4, 2)
    assert "t.jsonl:5" in report["skipped"][0]["where"]
    rows = [json.loads(line) for line in (cranes / "r.jsonl").read_text().splitlines()]
    for row, load in zip(rows, FACTS.values(), strict=True):
        shown, said = (turn["content"] for turn in row["messages"][1:])
        assert "[2] (" in shown and shown.endswith("Answer:")
        number = re.search(r"\[(\d)\]\.$", said)
        if number:
            block = re.split(r"^\[\d\] ", shown, flags=re.MULTILINE)[int(number.group(1))]
            assert load in block and said == f"It lifts {load} [{number.group(1)}]."
        else:
            assert said == "I do not know." and load not in shown
    run_cli(*args, "--out", "again.jsonl", "--without", "0.5", cwd=cranes)
    assert (cranes / "again.jsonl").read_bytes() == (cranes / "r.jsonl").read_bytes()
    # What raft wrote, check and finetune read as it is.
    assert json.loads(run_cli("dataset", "check", "r.jsonl", "--json",
                              cwd=cranes).stdout)["examples"] == 4
