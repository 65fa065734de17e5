"""`phi3kit compare` as a user runs it: a process, files, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from phi3kit.report.markdown import escape

DOCUMENTS = {
    "winch.md": "# Winch\n\nThe winch of the Ondrava lock needs marine grease number four.\n",
    "crane.md": "# Crane\n\nThe crane of the Ondrava lock lifts 12 tonnes at 8 metres.\n",
    "gate.md": "# Gate\n\nThe seal of the Ondrava gate is checked every seven days.\n",
}
QUESTIONS = [
    ("w", "Which grease does the Ondrava winch need?", "marine grease number four", "winch.md"),
    ("c", "How much does the Ondrava crane lift at 8 metres?", "12 tonnes", "crane.md"),
    ("g", "How often is the seal of the Ondrava gate checked?", "every seven days", "gate.md"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    for name, text in DOCUMENTS.items():
        (tmp_path / "docs" / name).write_text(text, encoding="utf-8")
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(
        {"id": id_, "question": question, "answers": [answer], "source_ids": [source]}) + "\n"
        for id_, question, answer, source in QUESTIONS), encoding="utf-8")
    # The base talks until it is stopped.
    (tmp_path / "phi3kit.yaml").write_text("ask:\n  max_new_tokens: 24\n", encoding="utf-8")
    return tmp_path


def test_dry_run_shows_where_each_value_comes_from(run_cli: Callable, folder: Path) -> None:
    (folder / "phi3kit.yaml").write_text("compare:\n  questions: q.jsonl\n", encoding="utf-8")
    done = run_cli("compare", "--arms", "base,rag", "--metric", "contains", "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert '["base", "rag"]  (flag)' in lines["compare.arms"]
    assert '"contains"  (flag)' in lines["compare.metric"]
    assert "(file phi3kit.yaml)" in lines["compare.questions"]
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(("arguments", "code", "says"), [
    ((), 2, "no held-out questions"),
    (("--questions", "none.jsonl"), 1, "none.jsonl: there is no such file"),
    (("--questions", "q.jsonl"), 2, "need an adapter"),
    (("--questions", "q.jsonl", "--arms", "base,best"), 2, "'compare.arms'"),
    (("--questions", "q.jsonl", "--metric", "luck"), 2, "'compare.metric'"),
    (("--questions", "q.jsonl", "--arms", "base,rag,few-shot"), 2, "few-shot needs training"),
    (("--questions", "q.jsonl", "--arms", "base,both", "--generator", "http://127.0.0.1:9"),
     2, "both puts an adapter on the model"),
    (("--questions", "q.jsonl", "--prediction", "q.jsonl"), 1, "q.jsonl: not valid JSON"),
])
def test_mistakes_are_one_line(run_cli: Callable, folder: Path, arguments: tuple[str, ...],
                               code: int, says: str) -> None:
    done = run_cli("compare", *arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.model
def test_base_against_rag_on_the_packaged_models(run_cli: Callable, folder: Path) -> None:
    assert run_cli("ingest", "docs").returncode == 0
    (folder / "advice.json").write_text('{"recommendation": "rag", "decided": true}',
                                        encoding="utf-8")
    ask = ("compare", "--questions", "q.jsonl", "--arms", "base,rag", "--metric", "contains",
           "--prediction", "advice.json")
    done = run_cli(*ask, "--json")
    # Three documents decide nothing, and that is said.
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    assert "below 6 nothing can be shown" in found["verdict"]["sentence"]
    assert found["verdict"]["outcome"] == "undecided"
    means = {arm["arm"]: arm["metrics"]["contains"]["mean"] for arm in found["arms"]}
    assert means["rag"] > means["base"] == 0
    assert {row["sources"][0] for row in found["rows"] if row["arm"] == "rag"} == {
        "docs/winch.md", "docs/crane.md", "docs/gate.md"}
    run = folder / found["run"]
    assert {p.name for p in run.iterdir()} >= {
        "run.json", "rows.jsonl", "result.json", "report.html", "report.md", "conditions.json"}
    again = run_cli(*ask)
    assert again.returncode == 3
    assert "6 of 6 answers are there already" in again.stderr
    assert "answering" not in again.stderr
    assert again.stdout.index("Not decidable yet") < again.stdout.index("Means per answer")


@pytest.mark.slow
@pytest.mark.model
def test_the_arms_that_tell_why_on_the_packaged_models(run_cli: Callable, folder: Path) -> None:
    assert run_cli("ingest", "docs").returncode == 0
    (folder / "train.jsonl").write_text("".join(json.dumps(
        {"prompt": question, "completion": answer}) + "\n" for question, answer in (
            ("Which oil does the Ondrava pump need?", "gear oil number two"),
            ("How much does the Ondrava hoist lift?", "3 tonnes"))), encoding="utf-8")
    (folder / "phi3kit.yaml").write_text(
        "ask:\n  max_new_tokens: 24\nfinetune:\n  dataset: train.jsonl\n"
        "compare:\n  similarity: true\n", encoding="utf-8")
    (folder / "general.jsonl").write_text(json.dumps(
        {"id": "days", "question": "How many days are there in a week?", "answers": ["7", "seven"]})
        + "\n", encoding="utf-8")
    done = run_cli("compare", "--questions", "q.jsonl", "--metric", "contains", "--arms",
                   "base,few-shot,rag,oracle-rag,full-context", "--general-questions",
                   "general.jsonl", "--json")
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    means = {arm["arm"]: arm["metrics"] for arm in (*found["arms"], *found["diagnostics"])}
    assert means["oracle-rag"]["contains"]["mean"] >= means["rag"]["contains"]["mean"] > 0
    assert means["few-shot"]["contains"]["mean"] == means["base"]["contains"]["mean"] == 0
    for metrics in means.values():
        assert {"rouge_l", "chrf", "span_f1", "similarity", "length_ratio"} <= metrics.keys()
    assert means["rag"]["similarity"]["mean"] > means["base"]["similarity"]["mean"]
    rows = {(row["arm"], row["question_id"]): row for row in found["rows"]}
    assert rows["oracle-rag", "w"]["sources"] == ["docs/winch.md"]
    assert sorted(rows["full-context", "w"]["sources"]) == [f"docs/{n}" for n in sorted(DOCUMENTS)]
    assert [harm["known"] for harm in found["harms"]] == [1, 1]
    assert {d["arm"] for d in found["diagnoses"]} == {"few-shot", "oracle-rag", "full-context"}
    report = (folder / found["run"] / "report.md").read_text(encoding="utf-8")
    assert escape(found["diagnoses"][0]["sentence"]) in report
