"""CSV and TSV: a passage per row, with the names of the columns."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document
from phi3kit.ingest.readers.decode import decode
from phi3kit.ingest.readers.sheet import document_of, read_sheet
from phi3kit.records import Failure

_DELIMITERS = ",;\t|"
_COLUMNS = 16_384  # as many as a spreadsheet can have
# Given to csv.reader after the last line: in a row of its own, or inside of an open quote.
_END = "\x00"
_SAID = re.compile(r"sep=([,;\t|])\n", re.IGNORECASE)
_SAMPLE = 8192  # characters that tell the delimiter
_OPEN = "a quote opens here and does not close"


def read(data: bytes) -> Document:
    """The rows, as "column: value" lines, under the title above them (see `sheet.read_sheet`).

    A line "sep=;" above it, by which Excel knows the delimiter, is none.
    A row with a quote that does not close becomes a problem, and what follows its line is read.

    Raises:
        DataError: no row below the names, or more columns than any table has.
    """
    text = decode(data)
    # One bad quote must not swallow the rest of the file as one enormous field.
    csv.field_size_limit(1_000_000)
    problems: list[Failure] = []
    said = _SAID.match(text)
    rows = _rows(_Feed(text if text.endswith("\n") else f"{text}\n", said.end() if said else 0,
                       1 if said else 0), said[1] if said else _delimiter(text), problems)
    sheet = read_sheet("", map(_stripped, rows))
    if not sheet.rows and problems:
        raise DataError(f"{problems[0].where}: {problems[0].why}")
    if not sheet.rows:
        raise DataError("no rows below the names of the columns")
    return replace(document_of([sheet]), problems=tuple(problems))


class _Feed:
    """The lines for one csv.reader.

    Attributes:
        text: of the whole file.
        at: where the next line begins in the text; `number` is how many came before it.
        row: the lines of the row that is being read.
    """

    def __init__(self, text: str, at: int, number: int) -> None:
        self.text = text
        self._file = io.StringIO(text, newline="")
        self._file.seek(at)
        self._ended = False
        self.at, self.number = at, number
        self.row: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline()
        if line:
            self.at += len(line)
            self.number += 1
            self.row.append(line)
            return line
        if self._ended:
            raise StopIteration
        self._ended = True
        return _END


def _rows(feed: _Feed, delimiter: str, problems: list[Failure]) -> Iterator[tuple[int, list[str]]]:
    """Each row and the number of its last line; rows that cannot be told become problems."""
    format_: dict[str, Any] = {"delimiter": delimiter, "skipinitialspace": True}
    rows = csv.reader(feed, **format_)
    while True:
        feed.row = []
        try:
            row = next(rows)
            if row == [_END]:
                return
            within = _open_for(row, feed.row, format_)
        except csv.Error as error:
            if len(feed.row) < 2:
                raise DataError(f"line {feed.number}: {error}") from error
            within = len(feed.row)
        if not within:
            yield feed.number, row
            continue
        swallowed = feed.row[len(feed.row) - within + 1:]
        number = feed.number - len(swallowed)
        problems.append(Failure(f"line {number}", _OPEN))
        feed = _Feed(feed.text, feed.at - sum(map(len, swallowed)), number)
        rows = csv.reader(feed, **format_)


def _open_for(row: list[str], lines: list[str], format_: dict[str, Any]) -> int:
    """How many of a row's lines stand in a quote that was not meant to reach so far; 0: none."""
    if row and row[-1].endswith(_END):
        return len(io.StringIO(row[-1], newline="").readlines()) - 1
    if len(lines) < 2:
        return 0
    try:
        # One that closes in the middle of a word was closed by the next one that opens.
        list(csv.reader(lines, strict=True, **format_))
    except csv.Error:
        return len(lines)
    return 0


def _stripped(numbered: tuple[int, list[str]]) -> list[str]:
    number, row = numbered
    if len(row) > _COLUMNS:
        raise DataError(f"line {number}: {len(row):,} columns; at most {_COLUMNS:,} are read")
    return [cell.strip() for cell in row]


def _delimiter(text: str) -> str:
    first = text.lstrip("\n").partition("\n")[0]
    if "\t" in re.sub(r'"[^"]*"', "", first):  # nothing else puts one between names
        return "\t"
    lines = text[:_SAMPLE].splitlines(keepends=True)
    sample = lines if len(text) <= _SAMPLE else lines[:-1]
    best = max(_DELIMITERS, key=lambda delimiter: _evenness(sample, delimiter))
    # One column, or rows too uneven to tell: what the first line has most of.
    return best if _evenness(sample, best) > (0, 0) else max(_DELIMITERS, key=first.count)


def _evenness(lines: list[str], delimiter: str) -> tuple[float, int]:
    """The share of the rows that are cut into the same number of cells, and that number.

    A title above the names, or a comma in some numbers, then does not decide.
    """
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
                if any(row)]
    except csv.Error:
        return 0, 0
    counts = Counter(len(row) for row in rows if len(row) > 1)
    width, times = max(counts.items(), key=lambda one: (one[1], one[0]), default=(0, 0))
    return times / max(1, len(rows)), width
