"""EPUB: the chapters in reading order, each a part, under the titles of the book's contents."""

from __future__ import annotations

import posixpath
import zipfile
from typing import Any
from urllib.parse import unquote

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document, Heading, stacked
from phi3kit.ingest.readers import html
from phi3kit.ingest.readers.archive import member, open_archive, xml_root
from phi3kit.ingest.readers.contents import contents, under_titles
from phi3kit.records import Failure

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"


def read(data: bytes) -> Document:
    """The chapters that the spine names; those that cannot be read become problems.

    Raises:
        DataError: damaged, or protected (DRM).
    """
    with open_archive(data) as archive:
        package = _package(archive)
        opf = xml_root(member(archive, package), package)
        protected = _protected(archive)
        folder = posixpath.dirname(package)
        titles = contents(archive, opf, folder)
        chapters: list[tuple[str, Document]] = []
        problems = []
        for name in _spine(opf, folder):
            if name in protected:
                raise DataError("the book is protected against copying")
            try:
                chapters.append((name, html.read(member(archive, name))))
            except DataError as error:
                problems.append(Failure(name, error.what))
    if problems and not any(chapter.text.strip() for _, chapter in chapters):
        raise DataError(f"{problems[0].where}: {problems[0].why}")
    title = " ".join("".join(opf.xpath("string(//*[local-name()='title'][1])")).split())
    placed = under_titles(chapters, titles, title)
    return stacked([(chapter, None) for chapter in placed], problems=tuple(problems),
                   above=(Heading(0, 0, 0, title),) if title else ())


def _package(archive: zipfile.ZipFile) -> str:
    container = xml_root(member(archive, _CONTAINER), _CONTAINER)
    paths = container.xpath("//*[local-name()='rootfile']/@full-path")
    if not paths:
        raise DataError("damaged e-book (its container names no package)")
    return str(paths[0])


def _spine(opf: Any, folder: str) -> list[str]:
    """Names of the chapters' entries, each once."""
    hrefs = {item.get("id"): item.get("href", "")
             for item in opf.xpath("//*[local-name()='manifest']/*[local-name()='item']")}
    order = opf.xpath("//*[local-name()='spine']/*[local-name()='itemref']/@idref")
    names = [posixpath.normpath(posixpath.join(folder, unquote(hrefs[ref].partition("#")[0])))
             for ref in order if hrefs.get(ref)]
    if not names:
        raise DataError("damaged e-book (its package names no chapter)")
    return list(dict.fromkeys(names))


def _protected(archive: zipfile.ZipFile) -> set[str]:
    if _ENCRYPTION not in archive.namelist():
        return set()
    locks = xml_root(member(archive, _ENCRYPTION), _ENCRYPTION)
    found = locks.xpath("//*[local-name()='CipherReference']/@URI")
    return {unquote(name) for name in found}
