"""The table of contents of an e-book: the titles that its chapters stand under."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document, Heading
from phi3kit.ingest.readers.archive import member, xml_root

# The titles above a chapter, the outermost first, its own last.
Path = tuple[str, ...]


def contents(archive: zipfile.ZipFile, package: Any, folder: str) -> dict[str, Path]:
    """The titles of each entry of the archive that the contents name; none if there are none.

    Of an entry with several titles side by side, as of a book in one file, there is none.

    Args:
        package: the root of the OPF file.
        folder: that its names are relative to.
    """
    for item in package.xpath("//*[local-name()='manifest']/*[local-name()='item']"):
        name = posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
        is_nav = "nav" in item.get("properties", "").split()
        if not is_nav and item.get("media-type") != "application/x-dtbncx+xml":
            continue
        try:
            root = xml_root(member(archive, name), name)
        except DataError:  # the chapters can be read without it
            continue
        found = _nav(root) if is_nav else _ncx(root)
        if titles := _by_entry(found, posixpath.dirname(name)):
            return titles
    return {}


def under_titles(chapters: Sequence[tuple[str, Document]], titles: dict[str, Path],
                 book: str) -> list[Document]:
    """The chapters under their titles: those of the contents, else of the page itself.

    Where there are contents, a page without either goes on with what stands before it. A title
    that the page repeats as its first heading is that heading.

    Args:
        chapters: by the name of the entry, in order.
        book: the title of the whole, which names no chapter.
    """
    own = [next((h.title for h in chapter.headings if not h.level), "") for _, chapter in chapters]
    times = Counter(own)
    current: Path = ()
    lower, placed = 0, []
    for (name, chapter), title in zip(chapters, own, strict=True):
        path = titles.get(name, (title,) if title != book and times[title] == 1 and title else ())
        inner = [heading for heading in chapter.headings if heading.level]
        above: list[Heading] = []
        if path:
            above = [Heading(0, 0, at, path[at - 1]) for at in range(1, len(path) + 1)
                     if current[:at] != path[:at]]
            lower = len(path) + 1 - min((heading.level for heading in inner), default=1)
            if inner and above and _alike(inner[0].title, path[-1]):
                above.pop()
                lower = len(path) - inner[0].level
        elif not titles:
            lower = 0
        current = path if path or not titles else current
        placed.append(replace(chapter, headings=(*above, *(
            replace(h, level=max(len(path), 1, h.level + lower)) for h in inner))))
    return placed


def _nav(root: Any) -> list[tuple[Path, str]]:
    """(titles, target) of EPUB 3: lists in lists of links, or of words where a part has no page."""
    navs = root.xpath("//*[local-name()='nav'][@*[local-name()='type']='toc']")
    return [entry for nav in navs[:1] for entry in _items(
        nav, (), "./*[local-name()='ol']/*[local-name()='li']",
        "string(./*[local-name()='a' or local-name()='span'])", "./*[local-name()='a']/@href")]


def _ncx(root: Any) -> list[tuple[Path, str]]:
    """(titles, target) of EPUB 2."""
    return [entry for top in root.xpath("//*[local-name()='navMap']") for entry in _items(
        top, (), "./*[local-name()='navPoint']", "string(./*[local-name()='navLabel'])",
        "./*[local-name()='content']/@src")]


def _items(parent: Any, path: Path, items: str, label: str,
           target: str) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for item in parent.xpath(items):
        title = " ".join(item.xpath(label).split())
        titles = (*path, title) if title else path
        found += [(titles, str(href)) for href in item.xpath(target) if title]
        found += _items(item, titles, items, label, target)
    return found


def _by_entry(found: list[tuple[Path, str]], folder: str) -> dict[str, Path]:
    paths: dict[str, list[Path]] = {}
    for titles, href in found:
        name = posixpath.normpath(posixpath.join(folder, unquote(href.partition("#")[0])))
        paths.setdefault(name, []).append(titles)
    return {name: first for name, (first, *others) in paths.items()
            if all(other[:len(first)] == first for other in others)}


def _alike(heading: str, title: str) -> bool:
    """Whether one says the other: the contents may number chapters, or shorten their titles."""
    one, other = (re.sub(r"[\W_]+", "", text).casefold() for text in (heading, title))
    return bool(one and other) and (one in other or other in one)
