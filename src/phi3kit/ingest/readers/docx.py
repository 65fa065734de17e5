"""DOCX: headings, paragraphs and tables, in the document's order."""

from __future__ import annotations

import io
import re
from typing import Any

from phi3kit.errors import DataError, first_line
from phi3kit.ingest.document import Document
from phi3kit.ingest.readers.archive import open_archive
from phi3kit.ingest.readers.outline import Outline

_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)


def read(data: bytes) -> Document:
    """The body's text as Markdown; list items as "- item".

    Raises:
        DataError: encrypted, damaged, or no Word document.
    """
    import docx
    from docx.table import Table

    open_archive(data).close()
    outline = Outline()
    try:
        document = docx.Document(io.BytesIO(data))
        for block in document.iter_inner_content():
            if isinstance(block, Table):
                outline.table(_rows(block))
            else:
                _paragraph(block, outline)
    except MemoryError:
        raise
    except Exception as error:
        # Whatever zip, XML and python-docx raise on a file that is damaged or another format.
        raise DataError(f"damaged or no Word document ({first_line(error)})") from error
    return outline.document()


def _paragraph(paragraph: Any, outline: Outline) -> None:
    style = (paragraph.style.name or "") if paragraph.style is not None else ""
    match = _HEADING.match(style)
    if style.lower() == "title":
        outline.heading(1, paragraph.text)
    elif match:
        outline.heading(min(6, int(match[1])), paragraph.text)
    elif style.lower().startswith("list") and paragraph.text.strip():
        outline.paragraph(f"- {paragraph.text.strip()}")
    else:
        outline.paragraph(paragraph.text)


def _rows(table: Any) -> list[list[str]]:
    """The cells' text; a cell that spans columns counts once."""
    rows = []
    for row in table.rows:
        cells: list[str] = []
        seen: set[int] = set()
        for cell in row.cells:
            if id(cell._tc) not in seen:
                seen.add(id(cell._tc))
                cells.append(_cell(cell))
        rows.append(cells)
    return rows


def _cell(cell: Any) -> str:
    """A cell's paragraphs and the tables inside of it, on one line."""
    inner = [" ".join(text for row in _rows(table) for text in row) for table in cell.tables]
    return " ".join([cell.text, *inner])
