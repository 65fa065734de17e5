"""Questions that share a document further down their lists are not as independent as they look."""

from __future__ import annotations

import pytest

from phi3kit.compare.clusters import joined_clusters, sharing_note
from phi3kit.records import Question


def asked(*sources: tuple[str, ...]) -> list[Question]:
    return [Question(f"q{at}", "?", ("a",), names) for at, names in enumerate(sources)]


@pytest.mark.parametrize(("sources", "groups"), [
    ([("a",), ("a",), ("b",)], 2),
    ([("a", "b"), ("b", "c"), ("c",), ("d",)], 2),
    ([("a", "z"), ("b", "z"), ("c", "y"), ("d", "y"), ("e",)], 3),
    ([("a", "b"), ("c", "d"), ("d", "a")], 1),
    ([(), (), ("a",)], 3),
    ([("a", "a"), ("b", "b")], 2),
    ([], 0),
])
def test_groups_by_any_shared_document(sources: list[tuple[str, ...]], groups: int) -> None:
    assert joined_clusters(asked(*sources)) == groups


def test_it_is_said_only_where_groups_fall_together() -> None:
    assert sharing_note(asked(("a", "b"), ("a", "c"), ("d",), ())) == ()
    note, = sharing_note(asked(("a", "z"), ("b", "z"), ("c",), ()))
    assert "the 4 groups are 3" in note and "too narrow" in note
