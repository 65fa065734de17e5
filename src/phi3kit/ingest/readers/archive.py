"""Zip archives, of which Office files and e-books are made: opened only when they are sane."""

from __future__ import annotations

import io
import itertools
import zipfile
from typing import Any

from phi3kit.errors import DataError

# Unpacked, all together. What a reader makes of it is limited once more, by its memory.
_UNPACKED = 2**30
_ENTRIES = 20_000
# What each kind of archive must hold; the first name that is there decides.
_KINDS = {"word/": "docx", "ppt/": "pptx", "xl/": "xlsx", "META-INF/container.xml": "epub"}


def kind_of(data: bytes) -> str | None:
    """The format of an archive, as its extension without the dot.

    "zip" if it is none that is known, None if it cannot even be listed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return None
    return next((kind for start, kind in _KINDS.items()
                 if any(name.startswith(start) for name in names)), "zip")


def open_archive(data: bytes) -> zipfile.ZipFile:
    """The archive, to be closed by the caller.

    Raises:
        DataError: damaged, encrypted, or made to burst.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise DataError(f"damaged archive ({str(error)[:120]})") from error
    try:
        _refuse_bombs(archive.infolist())
    except DataError:
        archive.close()
        raise
    return archive


def member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The unpacked bytes of an entry.

    Raises:
        DataError: not there, or damaged.
    """
    try:
        return archive.read(name)
    except KeyError as error:
        raise DataError(f"damaged archive (no '{name}' in it)") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError,
            zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise DataError(f"damaged archive ({str(error)[:120]})") from error


def xml_root(data: bytes, name: str) -> Any:
    """The root of an entry's XML. Nothing is fetched for it, and no entity grows.

    Raises:
        DataError: damaged.
    """
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise DataError(f"damaged XML ('{name}': {str(error)[:80]})") from error


def _refuse_bombs(entries: list[zipfile.ZipInfo]) -> None:
    if any(entry.flag_bits & 1 for entry in entries):
        raise DataError("the archive is encrypted", mend="Save it without a password")
    if len(entries) > _ENTRIES:
        raise DataError(f"an archive of {len(entries):,} entries, which no document has")
    # One stretch of bytes used as many entries is how small archives grow beyond all bounds.
    spans = sorted((entry.header_offset, entry.compress_size) for entry in entries)
    if any(start + size > after for (start, size), (after, _) in itertools.pairwise(spans)):
        raise DataError("an archive with entries that overlap, as bombs have")
    # What is read of an entry ends at the size that it declares.
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > _UNPACKED:
        raise DataError(f"an archive that unpacks to {unpacked / 2**20:,.0f} MiB; at most "
                        f"{_UNPACKED // 2**20} are read")
