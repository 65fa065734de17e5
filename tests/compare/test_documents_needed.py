"""A row says how many documents hold its answer, whatever the arm was shown of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from phi3kit.compare.results import row_of, score
from phi3kit.compare.rows import RowFile
from phi3kit.records import Answer, Question

ANSWER = Answer("Which?", "yes", False, (), (), (), 10, 1, 0.1)


@pytest.mark.parametrize("sources", [(), ("a.md",), ("a.md", "b.md")])
def test_a_row_counts_the_documents_that_its_question_names(
        sources: tuple[str, ...], tmp_path: Path) -> None:
    row = row_of("base", Question("q1", "Which?", ("yes",), sources), ANSWER)
    assert row.documents == len(sources)
    RowFile(tmp_path / "rows.jsonl").append([row])
    assert [found.documents for found in RowFile(tmp_path / "rows.jsonl").rows.values()] == [
        len(sources)]


def test_a_row_that_was_kept_without_the_count_gets_it_when_it_is_scored() -> None:
    question = Question("q1", "Which?", ("yes",), ("a.md", "b.md"), kind="label")
    row = row_of("base", question, ANSWER)
    kept = dataclasses.replace(row, documents=1, kind="", cluster="q1", gold=())
    scored, = score([kept], [question])
    assert (scored.documents, scored.kind, scored.cluster, scored.gold) == (
        2, "label", "a.md", ("yes",))
    assert scored.output == row.output
