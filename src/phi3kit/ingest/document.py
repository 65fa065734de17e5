"""What a reader returns: text, and what is known of the places in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from phi3kit.records import Failure


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the text.

    Attributes:
        start: its first character in the text (of the line, "## " included).
        end: one past its last character.
        level: 1 for the outermost; 0 for a title of the whole.
        title: its words, without markup. Those that stand outside of the text are empty
            spans where what they are above begins.
    """

    start: int
    end: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the text that no chunk reaches across: a page, a row, or everything.

    Attributes:
        page: 1-based page number, for formats that have pages.
    """

    start: int
    end: int
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The extracted text of a file. All offsets are characters of `text`.

    Attributes:
        parts: in order, not overlapping; what lies between them is separators.
        headings: in order of `start`.
        markdown: whether the text's structure is Markdown's.
        problems: parts of the file that could not be read (`where` is the place inside the
            file, e.g. "line 3"); the rest is in `text`.
    """

    text: str
    parts: tuple[Part, ...]
    headings: tuple[Heading, ...] = ()
    markdown: bool = False
    problems: tuple[Failure, ...] = ()


def whole(text: str, headings: tuple[Heading, ...] = (), *, markdown: bool = False) -> Document:
    """A document in one part."""
    return Document(text, (Part(0, len(text)),), headings, markdown)


def joined(pieces: list[tuple[str, int | None]], *,
           problems: tuple[Failure, ...] = ()) -> Document:
    """A document of (text, page) pieces, a part each, with an empty line between them."""
    parts, at = [], 0
    for text, page in pieces:
        parts.append(Part(at, at + len(text), page))
        at += len(text) + 2
    return Document("\n\n".join(text for text, _ in pieces), tuple(parts), problems=problems)


def stacked(documents: list[tuple[Document, int | None]], *, above: tuple[Heading, ...] = (),
            apart: bool = True, anew: int | None = None,
            problems: tuple[Failure, ...] = ()) -> Document:
    """One Markdown document of (document, page), with an empty line between them.

    Args:
        above: headings of the whole, at its start.
        apart: whether each is a part of its own.
        anew: level, from which on the headings of one document do not stand above the next
            ones; None: they do, until another heading ends them.
    """
    texts: list[str] = []
    parts: list[Part] = []
    headings, at = list(above), 0
    is_under = False  # of a heading that an earlier document left
    for document, page in documents:
        if not document.text:
            continue
        end = at + len(document.text)
        texts.append(document.text)
        parts.append(Part(at, end, page))
        if anew is not None:
            if is_under and not _begins(document, anew):
                headings.append(Heading(at, at, anew, ""))
            is_under = any(h.level >= anew for h in document.headings)
        headings.extend(replace(h, start=h.start + at, end=h.end + at) for h in document.headings)
        at = end + 2
    text = "\n\n".join(texts)
    return Document(text, tuple(parts) if apart else (Part(0, len(text)),), tuple(headings),
                    markdown=True, problems=problems)


def _begins(document: Document, level: int) -> bool:
    """Whether its first characters are a heading that ends those of `level` before it."""
    first = next(iter(document.headings), None)
    return first is not None and first.start == 0 and first.level <= level


def bounded(document: Document, longest: int) -> Document:
    """The document in parts of at most `longest` characters.

    Longer ones are cut where a paragraph ends, else a line, else a word: to cut a line of a
    million characters into chunks takes minutes, many lines of some thousand a second.
    """
    parts: list[Part] = []
    for part in document.parts:
        start = part.start
        while part.end - start > longest:
            half, end = start + longest // 2, start + longest
            cut = next((at + len(mark) for mark in ("\n\n", "\n", " ")
                        if (at := document.text.rfind(mark, half, end - 1)) >= 0), end)
            parts.append(Part(start, cut, part.page))
            start = cut
        parts.append(Part(start, part.end, part.page))
    return replace(document, parts=tuple(parts))
