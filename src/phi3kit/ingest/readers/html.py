"""HTML: the page's content as Markdown, without menus and scripts."""

from __future__ import annotations

import logging
import re
from collections import Counter
from typing import Any

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document, Heading, whole
from phi3kit.ingest.readers.decode import decode, known
from phi3kit.ingest.readers.markdown import find_headings
from phi3kit.ingest.readers.outline import Outline

_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w-]+)"
                      rb"|\A\s*<\?xml[^>]+encoding\s*=\s*[\"']([\w-]+)", re.IGNORECASE)
# Below this many characters, the page is more likely all content than mostly menus.
_SHORT = 20_000
# Above this many, finding the content takes longer than a file may: all of the page is taken.
_LONG = 2_000_000
# Share of a short page's words that may be missing from what was extracted.
_LOSS = 0.02
_NO_CONTENT = "//script|//style|//noscript|//template|//nav|//svg|//head"
_BLOCKS = {"p", "li", "dt", "dd", "pre", "blockquote", "figcaption", "caption", "div", "section",
           "article", "main", "header", "footer", "aside", "td", "th", "body", "address",
           "summary", "option"}
_HEADINGS = "//h1|//h2|//h3|//h4|//h5|//h6"


def read(data: bytes, charset: str | None = None) -> Document:
    """The main content, found by trafilatura (favouring recall).

    A short page of which it drops a heading or more than one word in fifty is taken whole,
    without scripts and menus: nothing is lost in silence. So is one of over two million
    characters.

    Args:
        charset: what the page came with says of it, as an e-mail's header does; it goes before
            what the page says itself.

    Raises:
        DataError: no HTML, or no content.
    """
    import trafilatura
    from lxml import etree, html

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    declared = _CHARSET.search(data[:4096])
    if declared and not (charset and known(charset)):
        charset = (declared[1] or declared[2]).decode("ascii")
    text = decode(data, charset)
    # lxml refuses text that declares an encoding of its own.
    text = re.sub(r"\A\s*<\?xml[^>]*\?>", "", text)
    try:
        tree = html.document_fromstring(text)
        title = " ".join((tree.findtext(".//title") or "").split())
        etree.strip_elements(tree, etree.Comment, etree.ProcessingInstruction, with_tail=False)
        for element in tree.xpath(_NO_CONTENT):
            element.drop_tree()
        for end in tree.xpath("//pre//br"):  # or the lines of what it shows would be joined
            end.tail = "\n" + (end.tail or "")
            end.drop_tree()
        extracted = "" if len(text) > _LONG else trafilatura.extract(
            html.tostring(tree, encoding="unicode"), output_format="markdown",
            favor_recall=True, include_tables=True, include_formatting=True,
            include_comments=True, deduplicate=False) or ""
    except (etree.LxmlError, ValueError, AssertionError, RecursionError) as error:
        raise DataError(f"no HTML that can be read ({error})") from error
    found = whole(extracted, find_headings(extracted), markdown=True)
    if not extracted or _lost(tree, found, short=len(text) <= _SHORT):
        found = _outline(tree)
    if title and title not in {heading.title for heading in found.headings}:
        found = Document(found.text, found.parts, (Heading(0, 0, 0, title), *found.headings),
                         markdown=True)
    return found


def _lost(tree: Any, found: Document, *, short: bool) -> bool:
    """Whether the extraction dropped words of a short page, or the structure of any page."""
    titles = len(tree.xpath(_HEADINGS))
    if titles and not found.headings:
        return True
    if not short:
        return False
    # Whole ones: what was cut in two at the edge of an inline element is missing as well.
    words = _words(_outline(tree).text)
    missing = (words - _words(found.text)).total()
    return missing > _LOSS * words.total() or len(found.headings) < titles


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text))


def _outline(tree: Any) -> Document:
    outline = Outline()
    body = tree.find(".//body")
    _block(tree if body is None else body, outline)
    return outline.document()


def _block(element: Any, outline: Outline) -> None:
    """Add an element's blocks; text between blocks is a paragraph of its own."""
    loose: list[str] = [element.text or ""]
    for child in element:
        if _is_block(child):
            outline.paragraph(_flat(loose))
            loose = []
            _one(child, outline)
        else:
            loose.append(_inline(child))
        loose.append(child.tail or "")
    text = _flat(loose)
    if text:
        outline.paragraph(f"- {text}" if element.tag == "li" else text)


def _one(element: Any, outline: Outline) -> None:
    """Add a block. A table with headings or tables inside of it is a page's layout."""
    tag = str(element.tag)
    if re.fullmatch(r"h[1-6]", tag):
        outline.heading(int(tag[1]), _inline(element))
    elif tag == "pre" and element.text_content().strip():
        outline.paragraph(f"```\n{element.text_content().strip(chr(10))}\n```")
    elif tag == "table" and not element.xpath(f".//table|{_HEADINGS.replace('//', './/')}"):
        rows = [[_inline(cell) for cell in row.xpath("./td|./th")]
                for row in element.xpath(".//tr")]
        for caption in element.xpath("./caption"):
            outline.paragraph(_inline(caption))
        outline.table(rows)
    else:
        _block(element, outline)


def _inline(element: Any) -> str:
    """An element's text on one line; blocks and line ends inside of it part words."""
    if element.tag == "br":
        return " "
    text = (element.text or "") + "".join(_inline(child) + (child.tail or "")
                                          for child in element)
    return f" {text} " if str(element.tag) in _BLOCKS else text


def _is_block(element: Any) -> bool:
    return (str(element.tag) in _BLOCKS or str(element.tag) in ("table", "ul", "ol", "dl")
            or re.fullmatch(r"h[1-6]", str(element.tag)) is not None
            or any(_is_block(child) for child in element))


def _flat(pieces: list[str]) -> str:
    return " ".join("".join(pieces).split())
