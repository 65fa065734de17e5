"""CSV and TSV: a passage per row, with the names of the columns."""

from __future__ import annotations

import csv
import io

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document, joined
from phi3kit.ingest.readers.decode import decode

_DELIMITERS = ",;\t|"
_COLUMNS = 16_384  # as many as a spreadsheet can have


def read(data: bytes) -> Document:
    """The rows, as "column: value" lines; the first row names the columns.

    Raises:
        DataError: no row below the names, more columns than any table has, or quotes that
            never close.
    """
    text = decode(data)
    # One bad quote must not swallow the rest of the file as one enormous field.
    csv.field_size_limit(1_000_000)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text),
                      skipinitialspace=True)
    try:
        names = [name.strip() for name in next(rows, [])]
        _refuse_wide(names, rows.line_num)
        lines = []
        for row in rows:
            _refuse_wide(row, rows.line_num)
            if line := _line(names, row):
                lines.append(line)
    except csv.Error as error:
        raise DataError(f"line {rows.line_num}: {error}") from error
    if not lines:
        raise DataError("no rows below the names of the columns")
    return joined([(line, None) for line in lines])


def _refuse_wide(row: list[str], number: int) -> None:
    if len(row) > _COLUMNS:
        raise DataError(f"line {number}: {len(row):,} columns; at most {_COLUMNS:,} are read")


def _line(names: list[str], row: list[str]) -> str:
    cells = [(names[at] if at < len(names) and names[at] else f"column {at + 1}", cell.strip())
             for at, cell in enumerate(row)]
    return "\n".join(f"{name}: {cell}" for name, cell in cells if cell)


def _delimiter(text: str) -> str:
    # Of the sniffer's findings only the delimiter is used: whether quotes are doubled cannot
    # be told from a sample.
    try:
        return csv.Sniffer().sniff(text[:8192], delimiters=_DELIMITERS).delimiter
    except csv.Error:
        # One column, or rows too uneven to tell: what the first line has most of.
        first = text.lstrip().partition("\n")[0]
        return max(_DELIMITERS, key=first.count)
