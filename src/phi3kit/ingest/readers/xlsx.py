"""XLSX: a passage per row, under the sheet's name."""

from __future__ import annotations

import io
import re
import warnings
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


def read(data: bytes) -> Document:
    """The rows of every sheet, as "column: value" lines, under the title above them.

    Which row names the columns, `sheet.read_sheet` tells. A sheet of one row, such as a note on
    the others, is that row.

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
                sheets.append(read_sheet(sheet.title, ([_shown(value) for value in row] for row
                                                       in sheet.iter_rows(values_only=True))))
                if count := _uncomputed(sheet):
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


def _uncomputed(sheet: Any) -> int:
    """How many cells have a formula and no value: openpyxl tells them as empty ones."""
    count, left = 0, b""
    with sheet._get_source() as source:
        while block := source.read(2**20):
            left += block
            cut = max(left.rfind(b"<c "), len(left) - 2**20)  # a cell is far shorter
            count += len(_UNCOMPUTED.findall(left[:cut]))
            left = left[cut:]
    return count + len(_UNCOMPUTED.findall(left))


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
