"""hit@k, MRR and nDCG against values worked out by hand, and on a real collection."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from phi3kit import settings
from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.retrieval import (
    _differences,
    _measured,
    _ranking,
    _tell_lacking,
    evaluate_retrieval,
    verdict_of,
)
from phi3kit.errors import DataError, SettingsError
from phi3kit.records import Interval, Passage, Question

METHOD = Method(0.95, 2000, 0)


def passage(source: str, at: int = 0) -> Passage:
    return Passage(f"{source}{at}", "text", source, at, at + 4, score=0.5)


def asked(*source_ids: str) -> Question:
    return Question("q", "?", ("a",), source_ids)


def measured(questions: list[Question], found: list[list[Passage]]) -> list[dict[str, float]]:
    return _measured([dict.fromkeys(q.source_ids, 1) for q in questions],
                     [_ranking(q, ps) for q, ps in zip(questions, found, strict=True)])


def test_the_rank_of_the_first_passage_counts():
    found = measured([asked("a.md")], [[passage("d/x.md"), passage("d/x.md", 9),
                                        passage("d/a.md"), passage("d/a.md", 9)]])[0]
    assert found["hit@1"] == 0 and found["hit@3"] == 1
    assert found["MRR@10"] == pytest.approx(1 / 3)
    assert found["nDCG@10"] == pytest.approx(1 / math.log2(4))


def test_two_relevant_documents():
    found = measured([asked("a.md", "b.md")], [[passage("a.md"), passage("x.md"),
                                                passage("b.md")]])[0]
    ideal = 1 + 1 / math.log2(3)
    assert found["nDCG@10"] == pytest.approx((1 + 1 / math.log2(4)) / ideal)
    assert found["recall@10"] == 1


def test_half_of_what_is_relevant_is_half_a_recall():
    assert measured([asked("a.md", "b.md")], [[passage("a.md")]])[0]["recall@10"] == 0.5


def test_a_grade_is_the_gain():
    found = _measured([{"a": 2, "b": 1}], [{"b": 1.0, "a": 0.5}])[0]
    assert found["nDCG@10"] == pytest.approx((1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3)))


@pytest.mark.parametrize(("low", "high", "p", "word"), [
    (0.01, 0.2, 0.01, "better"), (-0.2, -0.01, 0.01, "worse"),
    (-0.1, 0.1, 0.01, "no difference shown"), (0.0, 0.1, 0.01, "no difference shown"),
    (0.01, 0.2, 0.06, "no difference shown")])
def test_a_difference_counts_when_its_interval_leaves_zero_out_and_p_is_small(low, high, p, word):
    assert verdict_of(Interval(0.0, low, high), p, 0.95) == word


@pytest.mark.parametrize(("documents", "word"), [(3, "no difference shown"), (10, "better")])
def test_few_documents_show_no_difference_even_all_in_favour(documents, word):
    gains = {"dense": 0.2, "lexical": 0.2, "hybrid": 0.9}
    values = {mode: [{"nDCG@10": gain + at / 100} for at in range(documents)]
              for mode, gain in gains.items()}
    found = _differences(values, [f"{at}.md" for at in range(documents)], METHOD)
    assert [pair.verdict for pair in found] == ["no difference shown", word, word]
    assert found[1].difference.low > 0
    # Exact: no flip of the signs is as extreme but that of all; three pairs are compared.
    assert found[1].p == pytest.approx(3 * 2.0 ** (1 - documents))


def test_questions_that_are_all_alike_prove_no_never_and_no_always():
    asked = [(f"{at}.md", 1.0) for at in range(3)]
    found = interval(asked, METHOD)
    assert (found.mean, found.high) == (1, 1) and found.low == pytest.approx(0.025 ** (1 / 3))
    assert interval([*asked, ("3.md", 0.0)], METHOD).mean == 0.75


def test_nothing_found_is_zero_and_costs_no_question():
    found = measured([asked("a.md"), asked("b.md")], [[], [passage("b.md")]])
    assert set(found[0].values()) == {0.0}
    assert set(found[1].values()) == {1.0}


def test_documents_that_cannot_be_found_are_told(capsys):
    known = [asked("a.md", "docs\\b.md"), asked("c/a.md", "d.pdf")]
    _tell_lacking(known, ["docs/a.md", "docs/b.md"], "q.jsonl")
    assert capsys.readouterr().err == (
        "q.jsonl: 2 of the 4 documents that source_ids name are not in the collection, such as "
        "'c/a.md'; they count as not found\n")
    _tell_lacking(known[:1], ["docs/a.md", "docs/b.md"], "q.jsonl")
    _tell_lacking([asked("gr\u00fcn.md")], ["docs/gru\u0308n.md"], "q.jsonl")
    assert not capsys.readouterr().err


def test_questions_without_sources_are_refused(project: Path):
    with pytest.raises(SettingsError, match="--questions"):
        evaluate_retrieval(settings.load().values)
    path = project / "questions.jsonl"
    path.write_text(json.dumps({"id": "1", "question": "?", "answers": ["x"]}) + "\n")
    with pytest.raises(DataError, match="source_ids"):
        evaluate_retrieval(settings.load({"compare.questions": str(path)}).values)


@pytest.mark.model
def test_on_a_real_collection(project: Path, run_cli):
    docs = project / "docs"
    docs.mkdir()
    for name, text in {"seal": "The K-310 seal is made of Viton.",
                       "winch": "The W-12 winch takes marine grease.",
                       "gate": "At flood level amber the gate stays closed."}.items():
        (docs / f"{name}.md").write_text(f"# {name}\n\n{text}\n", encoding="utf-8")
    questions = [("What is the K-310 made of?", "seal.md"), ("What grease for a W-12?", "winch.md"),
                 ("When is the gate closed?", "docs/gate.md")]
    (project / "questions.jsonl").write_text("".join(
        json.dumps({"id": str(i), "question": q, "answers": ["x"], "source_ids": [s]}) + "\n"
        for i, (q, s) in enumerate(questions)), encoding="utf-8")
    assert run_cli("ingest", "docs", cwd=project).returncode == 0
    done = run_cli("evaluate-retrieval", "--questions", "questions.jsonl", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["questions"] == 3 and told["clusters"] == 3
    assert [m["mode"] for m in told["modes"]] == ["dense", "lexical", "hybrid"]
    assert all(m["metrics"]["hit@3"]["mean"] == 1 for m in told["modes"])
    assert all(m["metrics"]["hit@3"]["low"] == pytest.approx(0.025 ** (1 / 3))
               for m in told["modes"])
    assert [(d["mode"], d["other"]) for d in told["differences"]] == [
        ("lexical", "dense"), ("hybrid", "dense"), ("hybrid", "lexical")]
    assert told["unit"] == "passages"
    table = run_cli("evaluate-retrieval", "--questions", "questions.jsonl", cwd=project).stdout
    assert "nDCG@10" in table and "3 questions about 3 documents" in table

    shown = run_cli("search", "K-310", "--passages", "1", cwd=project)
    assert shown.returncode == 0 and "docs/seal.md" in shown.stdout and "Viton" in shown.stdout
    passages = json.loads(run_cli("search", "K-310", "--retrieval", "lexical", "--json",
                                  cwd=project).stdout)
    assert [p["source"] for p in passages] == ["docs/seal.md"]
    off = run_cli("search", "capital of Mongolia", cwd=project)
    assert "does not know" in off.stderr
