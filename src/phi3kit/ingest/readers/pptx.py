"""PPTX: the text, tables and notes of each slide."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from phi3kit.errors import DataError, first_line
from phi3kit.ingest.document import Document, stacked
from phi3kit.ingest.readers.archive import open_archive, xml_root
from phi3kit.ingest.readers.outline import Outline


def read(data: bytes) -> Document:
    """A part per slide, numbered as pages, with its title as heading.

    Charts are tables of their numbers, SmartArt the lines that it shows.

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
    return stacked(slides, anew=1)


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
        elif getattr(shape, "has_chart", False):
            _chart(shape.chart, outline)
        elif shape.has_text_frame:
            for paragraph in shape.text_frame.paragraphs:
                outline.paragraph(paragraph.text.replace("\v", " "))
        else:
            for line in _diagram(shape):
                outline.paragraph(f"- {line}")
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        outline.paragraph(slide.notes_slide.notes_text_frame.text)
    return outline.document()


def _chart(chart: Any, outline: Outline) -> None:
    if chart.has_title and chart.chart_title.has_text_frame:
        outline.paragraph(chart.chart_title.text_frame.text)
    try:
        plots = list(chart.plots)
    except ValueError:  # of a kind that python-pptx does not know, as of shares
        plots = []
    for plot in plots:
        every = list(plot.series)
        names = [str(name) for name in plot.categories]
        rows = [[name, *(_number(one.values[at]) if at < len(one.values) else "" for one in every)]
                for at, name in enumerate(names)]
        outline.table([["", *(one.name for one in every)], *rows] if rows else [])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.15g}"


def _diagram(shape: Any) -> Iterator[str]:
    """The lines of SmartArt: a part of its own, which the shape refers to."""
    for reference in shape._element.xpath(".//*[local-name()='relIds']/@r:dm"):
        part = shape.part.related_part(reference)
        for paragraph in xml_root(part.blob, str(part.partname)).iter("{*}p"):
            if line := "".join(text.text or "" for text in paragraph.iter("{*}t")).strip():
                yield line


def _shapes(shapes: Any) -> Iterator[Any]:
    """The shapes, those in groups included."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes)
        else:
            yield shape
