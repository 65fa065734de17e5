"""Neighbouring passages are joined, and no others."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from phi3kit.files import sha256_bytes
from phi3kit.rag.merge import merge_neighbours
from phi3kit.records import Passage

TEXT = "The first part. The second part. The third part. Another one at the end."


def cut(start: int, end: int, *, source: str = "a.md", page: int | None = None,
        heading: str = "", score: float = 0.5) -> Passage:
    return Passage(f"{source}{start}", TEXT[start:end], source, start, end, page, heading,
                   score=score)


def test_neighbours_are_joined_where_the_better_stood():
    found = merge_neighbours([cut(50, 72), cut(16, 32, heading="A > B"),
                              cut(0, 15, heading="A > C", score=0.2)])
    assert [(p.start, p.end) for p in found] == [(50, 72), (0, 32)]
    joined = found[1]
    assert joined.text == "The first part.\nThe second part."
    assert (joined.id, joined.score, joined.heading) == ("a.md16", 0.5, "A")
    assert joined.sha256 == sha256_bytes(joined.text.encode())
    apart = merge_neighbours([cut(0, 15), replace(cut(16, 32), start=18, end=34)])[0]
    assert len(apart.text) == apart.end - apart.start


def test_a_passage_between_two_joins_all_three():
    found = merge_neighbours([cut(0, 15), cut(33, 48), cut(16, 32)])
    assert [p.text for p in found] == ["The first part.\nThe second part.\nThe third part."]


def test_without_a_gap_nothing_is_put_between():
    assert merge_neighbours([cut(0, 10), cut(10, 15)])[0].text == TEXT[:15]


def test_other_documents_pages_and_places_stay_apart():
    for other in (cut(16, 32, source="b.md"), cut(16, 32, page=2), cut(33, 48), cut(5, 20)):
        assert len(merge_neighbours([cut(0, 15), other])) == 2


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20),
                          st.sampled_from(["a.md", "b.md"])), max_size=8))
def test_nothing_is_lost_and_the_first_stays_first(spans):
    passages = [cut(start, start + length, source=source) for start, length, source in spans]
    found = merge_neighbours(passages)
    assert all(any(p.source == f.source and f.start <= p.start and p.end <= f.end for f in found)
               for p in passages)
    if passages:
        assert found[0].source == passages[0].source
        assert found[0].start <= passages[0].start and passages[0].end <= found[0].end
