"""BEIR's layout: what is read and refused, and figures equal to those of a questions file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from phi3kit import settings
from phi3kit.compare.beir import collect, read_beir
from phi3kit.compare.retrieval import (
    _of_documents,
    _rankings,
    evaluate_beir,
    evaluate_retrieval,
)
from phi3kit.errors import DataError
from phi3kit.records import Passage

DOCUMENTS = {
    "seal": ("Seal", "The K-310 seal is made of Viton."),
    "winch": ("Winch", "The W-12 winch takes marine grease No. 4."),
    "gate": ("Gate", "At flood level amber the south gate stays closed."),
    "crane": ("", "Loads of the yard crane are weighed before they are lifted."),
    "lamp": ("Lamp", "The lamp of the pier burns from dusk on."),
}
QUERIES = {"q1": ("What is the K-310 made of?", {"seal": 1}),
           "q2": ("Which grease does a winch take?", {"winch": 1}),
           "q3": ("When does the lamp burn, and when is the gate closed?",
                  {"lamp": 2, "gate": 1, "crane": 0}),
           "q4": ("Is it lifted?", {"crane": 1}),
           "q5": ("What is never asked?", {})}


def write_lines(path: Path, records: Iterable[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


@pytest.fixture
def beir(project: Path) -> Path:
    folder = project / "set"
    (folder / "qrels").mkdir(parents=True)
    write_lines(folder / "corpus.jsonl", (
        {"_id": id_, "title": title, "text": text, "metadata": {}}
        for id_, (title, text) in DOCUMENTS.items()))
    write_lines(folder / "queries.jsonl", (
        {"_id": id_, "text": text} for id_, (text, _) in QUERIES.items()))
    rows = [f"{query}\t{document}\t{grade}" for query, (_, grades) in QUERIES.items()
            for document, grade in grades.items()]
    (folder / "qrels/test.tsv").write_text(
        "\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n", encoding="utf-8")
    return folder


def test_what_is_read(beir: Path):
    found = read_beir(beir)
    assert found.documents["seal"] == "# Seal\n\nThe K-310 seal is made of Viton."
    assert found.documents["crane"].startswith("Loads")
    assert found.relevant == {"q1": {"seal": 1}, "q2": {"winch": 1},
                              "q3": {"lamp": 2, "gate": 1}, "q4": {"crane": 1}}


def test_test_is_the_split_that_counts(beir: Path):
    (beir / "qrels/dev.tsv").write_text("q1\tlamp\t1\n")
    assert read_beir(beir).relevant["q1"] == {"seal": 1}
    (beir / "qrels/test.tsv").unlink()
    assert read_beir(beir).relevant == {"q1": {"lamp": 1}}
    (beir / "qrels/train.tsv").write_text("q1\tgate\t1\n")
    with pytest.raises(DataError, match=r"dev\.tsv, train\.tsv"):
        read_beir(beir)


@pytest.mark.parametrize(("name", "line", "told"), [
    ("corpus.jsonl", '{"_id": "seal", "text": "again"}', r"corpus\.jsonl:6: the _id 'seal'"),
    ("corpus.jsonl", '{"title": "no id"}', r"corpus\.jsonl:6: field '_id'"),
    ("corpus.jsonl", '{"_id": "x", "text": 3}', r"corpus\.jsonl:6: field 'text'"),
    ("corpus.jsonl", "[1]", r"corpus\.jsonl:6: expected a JSON object"),
    ("queries.jsonl", '{"_id": "q9", "text": " "}', r"queries\.jsonl:6: field 'text'"),
    ("queries.jsonl", "{", r"queries\.jsonl:6: not valid JSON"),
    ("qrels/test.tsv", "q1\tseal", r"test\.tsv:8: expected 3 columns"),
    ("qrels/test.tsv", "q1\tseal\thigh", r"test\.tsv:8: the score 'high'"),
    ("qrels/test.tsv", "q77\tseal\t1", r"test\.tsv:8: queries\.jsonl has no query 'q77'"),
])
def test_a_wrong_line_is_named(beir: Path, name: str, line: str, told: str):
    with (beir / name).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=told):
        read_beir(beir)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_missing_file_is_named(beir: Path, name: str):
    (beir / name).unlink()
    with pytest.raises(DataError, match=f"{Path(name).name}: there is no such file"):
        read_beir(beir)


def test_a_relevant_document_that_is_not_there_is_told(beir: Path, capsys):
    with (beir / "qrels/test.tsv").open("a", encoding="utf-8") as file:
        file.write("q4\tlost\t1\n")
    assert read_beir(beir).relevant["q4"] == {"crane": 1, "lost": 1}
    assert "'lost'" in capsys.readouterr().err


def options(**given: object) -> settings.Settings:
    return settings.load({key.replace("__", "."): value for key, value in given.items()}).values


@pytest.mark.model
def test_both_ways_give_the_same_figures(beir: Path, project: Path):
    """Documents of one passage each: then ranking passages and documents is the same."""
    from phi3kit.ingest.reconcile import ingest

    for id_, (title, text) in DOCUMENTS.items():
        (project / "docs" / id_).mkdir(parents=True)
        words = f"# {title}\n\n{text}\n" if title else f"{text}\n"
        (project / "docs" / id_ / "_.md").write_text(words, encoding="utf-8")
    # Without grades, for a question's documents have none.
    text = (beir / "qrels/test.tsv").read_text().replace("lamp\t2", "lamp\t1")
    (beir / "qrels/test.tsv").write_text(text)
    write_lines(project / "questions.jsonl", (
        {"id": id_, "question": text, "answers": ["x"],
         "source_ids": sorted(f"{name}/_.md" for name, grade in grades.items() if grade)}
        for id_, (text, grades) in QUERIES.items()))
    own = options(ingest__corpus=("docs",), compare__questions="questions.jsonl")
    ingest(own)
    one, other = evaluate_retrieval(own), evaluate_beir(own, beir)
    assert [mode.metrics for mode in one.modes] == [mode.metrics for mode in other.modes]
    assert one.differences == other.differences
    assert (other.questions, other.left_out, other.unit) == (4, 1, "documents")
    assert {mode.metrics["nDCG@10"].mean for mode in other.modes} != {1.0}


def test_a_document_counts_once_at_its_best_passage(beir: Path):
    task = _of_documents(read_beir(beir), lambda source: source.removesuffix(".md"))
    found = [Passage(str(at), "text", f"{name}.md", at, at + 4)
             for at, name in enumerate(["lamp", "lamp", "lamp", "gate", "lamp", "seal"])]
    assert task.ranking(0, found) == {"lamp": 1.0, "gate": 1 / 2, "seal": 1 / 3}
    many = [Passage(str(at), "text", f"{at // 2}.md", at, at + 4) for at in range(30)]
    assert list(task.ranking(0, many)) == [str(at) for at in range(10)]
    shared = [Passage("0", "text", "a.md", 0, 4, sources=("a.md", "b.md"))]
    assert task.ranking(0, shared) == {"a": 1.0, "b": 1 / 2}
    assert task.clusters[2] == "lamp", "the document with the highest grade"


def test_the_querys_own_document_is_not_ranked(beir: Path, capsys):
    with (beir / "qrels/test.tsv").open("a", encoding="utf-8") as file:
        file.write("q2\tq2\t1\n")
    task = _of_documents(read_beir(beir), lambda source: source.removesuffix(".md"))
    capsys.readouterr()
    found = [Passage(str(at), "text", f"{name}.md", at, at + 4)
             for at, name in enumerate(["q1", "lamp", "q2", "q1"])]
    assert task.ranking(0, found) == {"lamp": 1.0, "q2": 1 / 2}
    assert capsys.readouterr().err.count("'q1'") == 1
    assert task.ranking(1, found) == {"q1": 1.0, "lamp": 1 / 2, "q2": 1 / 3}, "it is relevant"
    assert "q3" not in task.ranking(2, [*found, replace(found[0], source="q3.md")])
    assert not capsys.readouterr().err, "told once"


def test_documents_of_many_passages_leave_no_ranking_short(beir: Path):
    asked = []

    class Long:
        """20 documents of 16 passages, and a question that finds less than is asked for."""

        def rank(self, questions, k, least):
            asked.append((len(questions), k))
            return [tuple(Passage(str(at), "text", f"{at // 16}.md", at, at + 4)
                          for at in range(min(k, 25 if "gate" in question else 320)))
                    for question in questions]

    task = _of_documents(read_beir(beir), lambda source: source.removesuffix(".md"))
    found = _rankings(Long(), task)
    assert [len(ranking) for ranking in found] == [10, 10, 2, 10]
    assert asked == [(4, 30), (3, 60), (3, 120), (3, 240)]


@pytest.mark.parametrize("store", ["store", "http://127.0.0.1:8000"])
def test_the_mirror_of_a_servers_collection_lies_in_the_cache(
        store: str, beir: Path, project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHI3KIT_CACHE", str(project / "cache"))
    monkeypatch.setattr("phi3kit.ingest.reconcile.ingest", lambda _: SimpleNamespace(failed=()))
    inside, _ = collect(options(ingest__store=store), read_beir(beir))
    mirror = Path(inside.ingest.corpus[0])
    assert mirror.is_dir() and not (project / "http:").exists()
    above = Path("store.beir") if store == "store" else project / "cache" / "servers"
    assert mirror.is_relative_to(above)


@pytest.mark.model
def test_the_second_time_costs_nothing_and_a_change_only_itself(beir: Path, project: Path):
    from phi3kit.ingest.store import open_store

    values = options()
    given = read_beir(beir)
    inside, name_of = collect(values, given)
    store = open_store(Path(inside.ingest.store), inside.ingest.collection)
    assert {name_of(p.source) for p in store.passages()} == set(DOCUMENTS)
    mirror = Path(inside.ingest.corpus[0])
    stamps = {path: path.stat().st_mtime_ns for path in mirror.rglob("*.md")}
    collect(values, given)
    assert {path: path.stat().st_mtime_ns for path in mirror.rglob("*.md")} == stamps

    write_lines(beir / "corpus.jsonl", [
        {"_id": "seal", "text": "The seal is new."}, {"_id": "../odd name/é", "text": "Odd."},
        {"_id": "x" * 400, "text": "Long."}, {"_id": ".", "text": "Dot."},
        {"_id": "empty", "title": "", "text": None}])
    _, name_of = collect(values, read_beir(beir))
    store = open_store(Path(inside.ingest.store), inside.ingest.collection)
    assert {name_of(p.source): p.text for p in store.passages()} == {
        "seal": "The seal is new.", "../odd name/é": "Odd.", "x" * 400: "Long.", ".": "Dot."}


@pytest.mark.model
def test_questions_beside_a_folder_are_wrong_usage(run_cli):
    done = run_cli("evaluate-retrieval", "--beir", "gone", "--questions", "gone.jsonl")
    assert done.returncode == 2 and "leave out --questions" in done.stderr


def test_on_the_command_line(beir: Path, project: Path, run_cli):
    done = run_cli("evaluate-retrieval", "--beir", "set", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    graded = {mode["mode"]: mode["metrics"]["nDCG@10"]["mean"] for mode in told["modes"]}
    assert told["questions"] == 4 and told["unit"] == "documents"
    assert all(0 < value <= 1 and math.isfinite(value) for value in graded.values())
    again = run_cli("evaluate-retrieval", "--beir", "set", cwd=project)
    shown = " ".join(again.stdout.split())
    assert "documents ranked" in shown and "hybrid over lexical" in shown
    assert "embedding" not in again.stderr, "nothing had to be embedded again"
    both = run_cli("evaluate-retrieval", "--beir", "set", "--calibrate", cwd=project)
    assert both.returncode == 2 and "--calibrate" in both.stderr
    lost = run_cli("evaluate-retrieval", "--beir", "nowhere", cwd=project)
    assert lost.returncode == 1 and "corpus.jsonl" in lost.stderr
