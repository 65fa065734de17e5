"""PPTX: the text, tables and notes of each slide."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from phi3kit.errors import DataError, first_line
from phi3kit.ingest.document import Document, stacked
from phi3kit.ingest.readers.archive import open_archive
from phi3kit.ingest.readers.outline import Outline


def read(data: bytes) -> Document:
    """A part per slide, numbered as pages, with its title as heading.

    Raises:
        DataError: encrypted, damaged, or no presentation.
    """
    import pptx

    open_archive(data).close()
    slides: list[tuple[Document, int | None]] = []
    try:
        for number, slide in enumerate(pptx.Presentation(io.BytesIO(data)).slides, start=1):
            slides.append((_slide(slide), number))
    except MemoryError:
        raise
    except Exception as error:
        # Whatever zip, XML and python-pptx raise on a file that is damaged or another format.
        raise DataError(f"damaged or no PowerPoint presentation ({first_line(error)})") from error
    return stacked(slides)


def _slide(slide: Any) -> Document:
    outline = Outline()
    title = slide.shapes.title
    if title is not None:
        outline.heading(1, title.text_frame.text)
    for shape in _shapes(slide.shapes):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if getattr(shape, "has_table", False):
            outline.table([[cell.text for cell in row.cells if not cell.is_spanned]
                           for row in shape.table.rows])
        elif shape.has_text_frame:
            for paragraph in shape.text_frame.paragraphs:
                outline.paragraph(paragraph.text.replace("\v", " "))
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        outline.paragraph(slide.notes_slide.notes_text_frame.text)
    return outline.document()


def _shapes(shapes: Any) -> Iterator[Any]:
    """The shapes, those in groups included."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes)
        else:
            yield shape
