"""Rows of cells as passages: which row names the columns, and what stands above it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from phi3kit.ingest.document import Document, Heading, Part

# Rows that are looked through for the names of the columns.
_LOOK = 40
# A longer line above a table is a note on it, and no title.
_TITLE = 120
_YEAR = re.compile(r"(?:19|20)\d\d")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table with what is written above it.

    Attributes:
        name: of the sheet; "" if it has none.
        above: the rows above the names of the columns, such as a title, as lines.
        names: of the columns; "" for one without.
        rows: those below the names, as "column: value" lines.
    """

    name: str
    above: list[str]
    names: list[str]
    rows: list[str]


def read_sheet(name: str, rows: Iterable[Sequence[str]]) -> Sheet:
    """The sheet of these rows of stripped cells; those without a filled one count for nothing.

    The first filled row names the columns. Those above a wider table do not: rows of one cell
    at the table's left edge, and of two where an empty row parts them from the names.
    """
    every = iter(rows)
    first = list(itertools.islice(every, _LOOK))
    at = _header(first)
    filled = (row for row in itertools.chain(first[at + 1:], every) if any(row))
    names = list(first[at]) if at < len(first) else list(next(filled, ()))
    return Sheet(name, [" ".join(filter(None, row)) for row in first[:at] if any(row)], names,
                 [_line(names, row) for row in filled])


def document_of(sheets: Iterable[Sheet]) -> Document:
    """A part per row, under the sheet's name and the title above its names.

    The names stand in no text. What is above the names of the columns is a part too; a sheet of
    one row, such as a note on the others, is that row.
    """
    texts: list[str] = []
    parts: list[Part] = []
    headings: list[Heading] = []
    at = 0
    for sheet in sheets:
        pieces = sheet.rows or list(filter(None, ["\n".join(filter(None, sheet.names))]))
        if sheet.name and (pieces or sheet.above):
            headings.append(Heading(at, at, 1, sheet.name))
        if sheet.above and len(sheet.above[0]) <= _TITLE:
            headings.append(Heading(at, at + len(sheet.above[0]), 2, sheet.above[0]))
        for piece in (*(["\n".join(sheet.above)] if sheet.above else ()), *pieces):
            texts.append(piece)
            parts.append(Part(at, at + len(piece)))
            at += len(piece) + 2
    return Document("\n\n".join(texts), tuple(parts), tuple(headings))


def _header(rows: Sequence[Sequence[str]]) -> int:
    """The index of the row that names the columns; the number of rows if none is filled."""
    filled = [at for at, row in enumerate(rows) if any(row)]
    if not filled:
        return len(rows)
    widths = [_width(row) for row in rows]
    # One row may be wider by mistake; a table has two.
    table = sorted(widths)[-2:][0]
    at = next((at for at in filled if 2 * widths[at] > table), filled[0])
    above = [row for row in rows[:at] if any(row)]
    below = [widths[under] for under in filled if under > at]
    apart = at > 0 and not any(rows[at - 1])
    # A total or a remark may stand below; text of one column with some commas in it is no table.
    narrow = sum(2 * width <= table for width in below)
    if not above or not _names(rows[at]) or (2 if apart else 4) * narrow > len(below):
        return filled[0]
    edge = min(_edge(row) for row in rows[at:] if any(row))
    titles = all((_width(row) == 1 and _edge(row) <= edge) or (_width(row) <= 2 < table and apart)
                 for row in above)
    return at if titles else filled[0]


def _names(row: Sequence[str]) -> bool:
    """Whether a row could name columns: different cells, most of them words or years."""
    cells = [cell for cell in row if cell]
    words = [cell for cell in cells
             if any(c.isalpha() for c in cell) or _YEAR.fullmatch(cell)]
    return len(set(cells)) == len(cells) and 2 * len(words) > len(cells)


def _width(row: Sequence[str]) -> int:
    return sum(1 for cell in row if cell)


def _edge(row: Sequence[str]) -> int:
    return next(at for at, cell in enumerate(row) if cell)


def _line(names: Sequence[str], row: Sequence[str]) -> str:
    cells: Iterator[tuple[str, str]] = (
        (names[at] if at < len(names) and names[at] else f"column {at + 1}", cell)
        for at, cell in enumerate(row) if cell)
    return "\n".join(f"{name}: {cell}" for name, cell in cells)
