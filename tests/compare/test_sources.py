"""A passage that several documents hold counts for each of them."""

from __future__ import annotations

import pytest

from phi3kit.compare.results import row_of, score
from phi3kit.records import Answer, Citation, Passage, Question


@pytest.mark.parametrize(("wanted", "shown", "hit"), [
    ("b.md", "docs/b.md", 1.0), ("a.md", "docs/a.md", 1.0), ("c.md", "docs/a.md", 0.0)])
def test_a_hit_on_any_source_counts(wanted, shown, hit):
    passage = Passage("x", "The seal lasts.", "docs/a.md", 0, 15,
                      sources=("docs/a.md", "docs/b.md"))
    question = Question(id="q", question="How long?", answers=("400 hours",),
                        source_ids=(wanted,))
    answer = Answer("How long?", "400 hours [1]", False, (Citation(1, passage, "model"),), (),
                    (passage,), 1, 1, 0.1)
    row = score([row_of("rag", question, answer)], [question])[0]
    assert row.sources == row.citations == (shown,)
    assert row.metrics["hit_at_k"] == row.metrics["citation_precision"] == hit
