"""XLSX: a passage per row, under the sheet's name."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, time
from typing import Any

from phi3kit.errors import DataError, first_line
from phi3kit.ingest.document import Document
from phi3kit.ingest.readers.archive import open_archive
from phi3kit.ingest.readers.sheet import Sheet, document_of, read_sheet
from phi3kit.records import Failure

# A cell with a formula and no value. One of text ("str") may have the empty one.
_UNCOMPUTED = re.compile(rb"<c\b(?![^>]*\bt=.str)[^>]*>\s*<f\b[^>]*(?:/>|>[^<]*</f>)\s*"
                         rb"(?:<v\s*/>|<v>\s*</v>)?\s*</c>")
_MERGED = re.compile(rb"<mergeCell\b[^>]*\bref=.([A-Z]{1,3})(\d{1,7}):[A-Z]{1,3}(\d{1,7})")

# By the number of the row that they begin in, from 1: column from 0, and last row, of cells that
# several rows share.
_Tall = dict[int, list[tuple[int, int]]]


def read(data: bytes) -> Document:
    """The rows of every sheet, as "column: value" lines, under the title above them.

    Which row names the columns, `sheet.read_sheet` tells. A sheet of one row, such as a note on
    the others, is that row. A cell that is merged over several rows stands in each of them.

    Formulas are read as the values that they had when the file was saved; those that a program
    wrote without computing them become problems.

    Raises:
        DataError: encrypted, damaged, no workbook, or no row below the columns' names.
    """
    import openpyxl

    open_archive(data).close()
    sheets: list[Sheet] = []
    problems = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what openpyxl leaves out is no text
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True,
                                          keep_links=False)
            for sheet in book.worksheets:
                # Files claim to have more rows and columns than they do.
                sheet.reset_dimensions()
                count, tall = _looked_through(sheet)
                sheets.append(read_sheet(sheet.title, _rows(sheet, tall)))
                if count:
                    problems.append(Failure(f"sheet '{sheet.title}'", f"{count:,} formulas whose "
                                            "values were never computed; open the file in a "
                                            "spreadsheet program and save it"))
    except MemoryError:
        raise
    except Exception as error:
        # Whatever zip, XML and openpyxl raise on a file that is damaged or another format.
        raise DataError(f"damaged or no Excel workbook ({first_line(error)})") from error
    if not any(sheet.rows for sheet in sheets):
        if problems:
            raise DataError(f"{problems[0].where}: {problems[0].why}")
        raise DataError("no rows below the names of the columns")
    return replace(document_of(sheets), problems=tuple(problems))


def _rows(sheet: Any, tall: _Tall) -> Iterator[list[str]]:
    """The cells of each row, with those of rows above that reach into it.

    A row with nothing of its own stays empty: a title that is two rows high is one title.
    """
    held: dict[int, tuple[str, int]] = {}  # by column, the text and its last row
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells = [_shown(value) for value in row]
        own = any(cells)
        for column, (text, last) in list(held.items()):
            if number > last:
                del held[column]
            elif own and text:
                cells += [""] * (column + 1 - len(cells))
                cells[column] = cells[column] or text
        for column, last in tall.get(number, ()):
            held[column] = (cells[column] if column < len(cells) else "", last)
        yield cells


def _looked_through(sheet: Any) -> tuple[int, _Tall]:
    """How many cells have a formula and no value, and which cells several rows share.

    Of a book that is read row by row, openpyxl tells neither: both are empty cells.
    """
    from openpyxl.utils import column_index_from_string

    count, left = 0, b""
    tall: _Tall = {}

    def look(text: bytes) -> int:
        for column, first, last in _MERGED.findall(text):
            if int(first) < int(last):
                tall.setdefault(int(first), []).append(
                    (column_index_from_string(column.decode()) - 1, int(last)))
        return len(_UNCOMPUTED.findall(text))

    with sheet._get_source() as source:
        while block := source.read(2**20):
            left += block
            # Where one of either begins; each is far shorter than what is kept at most.
            cut = max(left.rfind(b"<c "), left.rfind(b"<mergeCell "), len(left) - 2**20)
            count += look(left[:cut])
            left = left[cut:]
    return count + look(left), tall


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, float):  # as many digits as Excel has: 0.3, not 0.30000000000000004
        return f"{value:.15g}"
    return str(value).strip()
