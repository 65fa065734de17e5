"""Groups of questions by source document: how many they are worth, and which are not apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from phi3kit.compare.intervals import effective_clusters
from phi3kit.records import Question, Row


def effective_groups(rows: Iterable[Row]) -> float:
    """How many groups of one size those of `rows` are worth: see `effective_clusters`."""
    import numpy as np

    return effective_clusters(np.array(
        list(Counter(row.cluster for row in rows).values()), dtype=float))


def joined_clusters(questions: Sequence[Question]) -> int:
    """How many groups there are when questions that share any document are put together.

    The statistics group them by the first document that they name. Questions without one are
    on their own.
    """
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while above[name] != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    def join(names: Iterable[str]) -> None:
        first, *others = names
        above.setdefault(first, first)
        for name in others:
            above.setdefault(name, name)
            above[top(name)] = top(first)

    alone = 0
    for question in questions:
        if question.source_ids:
            join(question.source_ids)
        else:
            alone += 1
    return alone + sum(name == root for name, root in above.items())


def sharing_note(questions: Sequence[Question]) -> tuple[str, ...]:
    """What has to be known of the intervals where groups share further documents; () if none."""
    groups = len({question.source_ids[0] if question.source_ids else question.id
                  for question in questions})
    joined = joined_clusters(questions)
    if joined >= groups:
        return ()
    return (f"questions are grouped by the first document that they name; some share further "
            f"ones, and put together by any shared document the {groups} groups are {joined}, so "
            "that the intervals may be too narrow",)
