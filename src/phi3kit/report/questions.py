"""Every question of a comparison with its answers and passages, as the page shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from phi3kit.records import Comparison, Row
from phi3kit.report import comparison_text as words
from phi3kit.report.matches import pieces

# From this worth on an answer counts as right where a yes or no is asked for.
RIGHT = 0.5
# Characters of answers and passages in one page: with marks and escapes it stays under 10 MB.
_TEXTS = 3_000_000
# A passage is never cut below this.
_LEAST = 240
# Arms that read everything have no passages that were chosen.
_UNCHOSEN = frozenset({"full-context"})


def arms_shown(comparison: Comparison) -> list[str]:
    """Every arm that answered: those that can win, best first, then the diagnostic ones."""
    return [*(arm.arm for arm in words.ranked(comparison)),
            *(arm.arm for arm in comparison.diagnostics)]


def question_groups(comparison: Comparison) -> list[dict[str, Any]]:
    """The questions by kind, each with its rows in the order of `arms_shown`."""
    place = {arm: index for index, arm in enumerate(arms_shown(comparison))}
    by_question: dict[str, list[Row]] = {}
    for row in comparison.rows:
        if row.arm in place:
            by_question.setdefault(row.question_id, []).append(row)
    room = _room(by_question.values())
    groups: dict[str, list[dict[str, Any]]] = {}
    for rows in by_question.values():
        rows.sort(key=lambda row: place[row.arm])
        groups.setdefault(rows[0].kind, []).append(
            _question(rows, comparison.verdict.metric, room))
    return [{"name": name, "questions": items} for name, items in groups.items()]


def _question(rows: Sequence[Row], metric: str, room: int | None) -> dict[str, Any]:
    marks = [{"arm": row.arm, "value": row.metrics[metric], "level": _level(row.metrics[metric])}
             for row in rows]
    return {
        "id": rows[0].question_id, "question": rows[0].question, "gold": rows[0].gold,
        "rows": rows, "marks": marks,
        "right": [row.arm for row in rows if row.metrics[metric] >= RIGHT],
        "spoken": ", ".join(f"{row.arm} {words.number(row.metrics[metric])}" for row in rows),
        "passages": [
            {"source": source, "readers": ", ".join(row.arm for row in readers),
             "pieces": pieces(text, rows[0].gold, [row.output for row in readers], room)}
            for (source, text), readers in _passages(rows).items()],
    }


def _passages(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Each passage once, with the rows that were shown it."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.arm not in _UNCHOSEN:
            for passage in zip(row.sources, row.passages, strict=True):
                readers = found.setdefault(passage, [])
                if row not in readers:
                    readers.append(row)
    return found


def _room(questions: Iterable[Sequence[Row]]) -> int | None:
    """Characters for each passage so that the page stays light; None when all fit.

    Answers are never cut: passages get what they leave.
    """
    sizes, answers = [], 0
    for rows in questions:
        sizes += [len(text) for _, text in _passages(rows)]
        answers += sum(len(row.output) for row in rows)
    left = _TEXTS - answers
    return None if sum(sizes) <= left or not sizes else max(left // len(sizes), _LEAST)


def _level(value: float) -> str:
    return "good" if value >= 0.8 else "fair" if value >= 0.4 else "poor"
