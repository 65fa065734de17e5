"""XLSX: a passage per row, under the sheet's name."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from typing import Any

from phi3kit.errors import DataError, first_line
from phi3kit.ingest.document import Document, rows_under
from phi3kit.ingest.readers.archive import open_archive


def read(data: bytes) -> Document:
    """The rows of every sheet, as "column: value" lines; the first filled row names the columns.

    Formulas are read as the values that they had when the file was saved.

    Raises:
        DataError: encrypted, damaged, no workbook, or no row below the columns' names.
    """
    import openpyxl

    open_archive(data).close()
    sheets = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what openpyxl leaves out is no text
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True,
                                          keep_links=False)
            for sheet in book.worksheets:
                # Files claim to have more rows and columns than they do.
                sheet.reset_dimensions()
                sheets.append((sheet.title, list(_rows(sheet.iter_rows(values_only=True)))))
    except MemoryError:
        raise
    except Exception as error:
        # Whatever zip, XML and openpyxl raise on a file that is damaged or another format.
        raise DataError(f"damaged or no Excel workbook ({first_line(error)})") from error
    if not any(rows for _, rows in sheets):
        raise DataError("no rows below the names of the columns")
    return rows_under(sheets)


def _rows(rows: Iterator[Sequence[Any]]) -> Iterator[str]:
    names: list[str] | None = None
    for row in rows:
        cells = [_shown(value) for value in row]
        if not any(cells):
            continue
        if names is None:
            names = cells
            continue
        yield "\n".join(
            f"{names[at] if at < len(names) and names[at] else f'column {at + 1}'}: {cell}"
            for at, cell in enumerate(cells) if cell)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    return str(value).strip()
