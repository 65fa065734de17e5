"""DOCX: headings, paragraphs, tables, text boxes and notes, in order; then headers and footers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from phi3kit.errors import DataError, first_line
from phi3kit.ingest.document import Document, Heading, stacked
from phi3kit.ingest.readers.archive import open_archive
from phi3kit.ingest.readers.outline import Outline

_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)
# What python-docx passes over with all that is inside: insertions that nobody has accepted yet,
# content controls, marks of meaning, and fields.
_WRAPPERS = ("w:ins", "w:moveTo", "w:sdt", "w:sdtContent", "w:smartTag", "w:customXml",
             "w:fldSimple")
# Fields that count pages, and how many words beside one say no more than it ("Page 3 of 9").
_PAGES = re.compile(r"\s*(?:PAGE|NUMPAGES|SECTIONPAGES)\b", re.IGNORECASE)
_BESIDE = 2
_COUNT = "\ufffc"


def read(data: bytes) -> Document:
    """The body's text as Markdown; list items as "- item".

    Changes that are tracked count as accepted. A table of contents that Word keeps is left out.
    What headers and footers say comes last and once, under no heading but the title, without page
    numbers.

    Raises:
        DataError: encrypted, damaged, or no Word document.
    """
    import docx
    from docx.table import Table

    open_archive(data).close()
    outline = Outline()
    try:
        document = docx.Document(io.BytesIO(data))
        _unwrap(document.element.body)
        notes = _notes(document.part)
        for block in document.iter_inner_content():
            if isinstance(block, Table):
                outline.table(_rows(block))
                _hanging(block, block._tbl, outline, notes)
            else:
                _paragraph(block, outline, notes)
        margins = _margins(document.part)
    except MemoryError:
        raise
    except Exception as error:
        # Whatever zip, XML and python-docx raise on a file that is damaged or another format.
        raise DataError(f"damaged or no Word document ({first_line(error)})") from error
    return stacked([(outline.document(), None), (margins, None)]) if margins.text else (
        outline.document())


def _unwrap(body: Any) -> None:
    """Put what stands in a wrapper into its place, and take out what was moved away."""
    from docx.oxml.ns import qn

    pr, gallery, hint, text = map(qn, ("w:sdtPr", "w:docPartGallery", "w:showingPlcHdr", "w:t"))
    for element in list(body.iter(qn("w:sdt"), qn("w:moveFrom"))):
        kind = element.find(f"{pr}/*/{gallery}")
        if element.tag == qn("w:moveFrom") or (
                kind is not None and kind.get(qn("w:val")) == "Table of Contents"):
            element.getparent().remove(element)
        elif element.find(f"{pr}/{hint}") is not None:  # "Click here to enter text"
            for words in element.iter(text):
                words.text = ""
    for element in list(body.iter(*map(qn, _WRAPPERS))):
        for inner in list(element):
            element.addprevious(inner)
        element.getparent().remove(element)


def _hanging(block: Any, element: Any, outline: Outline,
             notes: dict[tuple[str, str], str]) -> None:
    """What hangs on a paragraph, or on those in a table's cells: text boxes, then notes."""
    from docx.oxml.ns import qn
    from docx.text.paragraph import Paragraph

    for box in _once(element, qn("w:txbxContent")):
        for inner in box.iter(qn("w:p")):
            outline.paragraph(Paragraph(inner, block).text)
    for kind in sorted({kind for kind, _ in notes}):
        for reference in _once(element, kind):
            outline.paragraph(notes.get((kind, reference.get(qn("w:id"))), ""))


def _once(element: Any, tag: str) -> Iterator[Any]:
    """The elements below; what is in older programs' copy of a text box is not another one."""
    copy = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
    for found in element.iter(tag):
        if next(found.iterancestors(copy), None) is None:
            yield found


def _notes(part: Any) -> dict[tuple[str, str], str]:
    """Footnotes and endnotes, by what refers to one: its element's name, and the note's ID."""
    from docx.oxml import parse_xml
    from docx.oxml.ns import qn
    from docx.text.paragraph import Paragraph

    found = {}
    for relation in part.rels.values():
        kind = relation.reltype.rpartition("/")[2].removesuffix("s")
        if kind not in ("footnote", "endnote") or relation.is_external:
            continue
        notes = parse_xml(relation.target_part.blob)
        _unwrap(notes)
        for note in notes.iter(qn(f"w:{kind}")):
            found[qn(f"w:{kind}Reference"), note.get(qn("w:id"))] = " ".join(
                Paragraph(inner, part).text for inner in note.iter(qn("w:p")))
    return found


def _margins(part: Any) -> Document:
    """The lines of all headers, then of all footers, each once: pages and sections repeat them."""
    from docx.oxml import parse_xml
    from docx.oxml.ns import qn

    said: dict[str, None] = {}
    for kind in ("header", "footer"):
        for relation in part.rels.values():
            if relation.reltype.rpartition("/")[2] != kind or relation.is_external:
                continue
            margin = parse_xml(relation.target_part.blob)
            for field in margin.iter(qn("w:fldSimple")):
                if _PAGES.match(field.get(qn("w:instr"), "")):
                    for text in field.iter(qn("w:t")):
                        text.text = _COUNT
            _unwrap(margin)
            for paragraph in margin.iter(qn("w:p")):
                pieces = map(_without_count, _marked(paragraph).split("\t"))
                said.setdefault(" ".join(" ".join(pieces).split()))
    lines = "\n".join(filter(None, said))
    # No heading of the body stands above them.
    return Document(lines, (), (Heading(0, 0, 1, ""),), markdown=True)


def _marked(paragraph: Any) -> str:
    """The text of a paragraph's own runs, with `_COUNT` for each field that counts pages."""
    from docx.oxml.ns import qn

    told: list[str] = []
    fields: list[str] = []  # that are open: what each is to show
    for run in paragraph.iter(qn("w:r")):
        if next(run.iterancestors(qn("w:p"))) is not paragraph:  # of a text box
            continue
        for each in run:
            kind = each.tag.rpartition("}")[2]
            if kind == "fldChar" and each.get(qn("w:fldCharType")) == "begin":
                fields.append("")
            elif kind == "fldChar" and each.get(qn("w:fldCharType")) == "end" and fields:
                told.append(_COUNT if _PAGES.match(fields.pop()) else "")
            elif kind == "instrText" and fields:
                fields[-1] += each.text or ""
            elif kind == "t" and not any(map(_PAGES.match, fields)):
                told.append(each.text or "")
            elif kind in ("tab", "ptab", "br", "cr"):
                told.append("\t")
    return "".join(told)


def _without_count(piece: str) -> str:
    """What stands between two tabs; nothing if it is there to count pages."""
    said = piece.replace(_COUNT, " ")
    counts = said != piece and len(re.findall(r"[^\W\d_]+", said)) <= _BESIDE
    return "" if counts else said


def _paragraph(paragraph: Any, outline: Outline, notes: dict[tuple[str, str], str]) -> None:
    """A paragraph, then what hangs on it."""
    style = (paragraph.style.name or "") if paragraph.style is not None else ""
    match = _HEADING.match(style)
    if style.lower() == "title":
        outline.heading(0, paragraph.text)
    elif match:
        outline.heading(min(6, int(match[1])), paragraph.text)
    elif style.lower().startswith("list") and paragraph.text.strip():
        outline.paragraph(f"- {paragraph.text.strip()}")
    else:
        outline.paragraph(paragraph.text)
    _hanging(paragraph, paragraph._p, outline, notes)


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
