"""The tables of a Markdown text, so that rows far below the first still say what they are."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

# What the line below the names of the columns is made of: dashes, and this around them.
_RULE = re.compile(r"[\s|:-]*")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
# A longer line of names takes more room from its rows than it tells about them.
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Table:
    """Where rows stand, the line of names and the rule below it not counted.

    Attributes:
        names: of the columns, as "Part | Torque".
    """

    start: int
    end: int
    names: str


class Tables:
    """The tables of a text, to be asked about places in it."""

    def __init__(self, text: str) -> None:
        self._tables = [table for table in _find(text) if 0 < len(table.names) <= _LONGEST]
        self._starts = [table.start for table in self._tables]

    def names_at(self, start: int) -> tuple[str, ...]:
        """The names of the columns, if `start` is in a table and below them; else nothing."""
        at = bisect_right(self._starts, start) - 1
        if at < 0 or start >= self._tables[at].end:
            return ()
        return (self._tables[at].names,)


def _find(text: str) -> Iterator[Table]:
    above, names, start, at = "", "", -1, 0
    for found in _LINE.finditer(text):  # one by one: a list of short lines is large
        line = found[0]
        if start >= 0 and "|" not in line:
            yield Table(start, at, names)
            start = -1
        at += len(line)
        if start < 0 and "|" in above and "|" in line and _is_rule(line):
            names, start = _names(above), at
        above = line
    if start >= 0:
        yield Table(start, at, names)


def _is_rule(line: str) -> bool:
    # In two steps, for one pattern that asks for a dash anywhere tries each: with a hundred
    # thousand of them and a letter at the end, minutes.
    return "-" in line and _RULE.fullmatch(line) is not None


def _names(line: str) -> str:
    cells = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return " | ".join(" ".join(cell.split()) for cell in cells if cell.strip())
