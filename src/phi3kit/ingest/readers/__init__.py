"""Documents to text: one file per format, chosen by extension and checked against content."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document, bounded
from phi3kit.records import Failure

Reader = Callable[[bytes], Document]

_CODE = (".py .pyi .js .mjs .cjs .jsx .ts .tsx .java .kt .kts .scala .groovy .cs .c .h .cc .cpp "
         ".cxx .hh .hpp .go .rs .swift .m .rb .php .pl .lua .r .jl .sh .bash .zsh .ps1 .bat .sql "
         ".proto .graphql .css .scss .tf .yaml .yml .toml .ini .cfg .conf .properties .xml .xsd "
         ".xsl .svg .tex .vue .dart .ex .exs .erl .hs .clj .f90")
# Extension to module. Imported when the first such file is read: most folders need one or two.
_READERS = {
    ".txt": "text", ".text": "text", ".log": "text", ".rst": "text",
    ".md": "markdown", ".markdown": "markdown",
    ".html": "html", ".htm": "html", ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "docx", ".pptx": "pptx", ".xlsx": "xlsx", ".xlsm": "xlsx", ".epub": "epub",
    ".csv": "csv", ".tsv": "csv",
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".eml": "mail", ".mbox": "mbox",
    **dict.fromkeys(_CODE.split(), "code"),
}
# What files begin with, whatever they are called: readers by module, others in words.
_MAGIC = {
    b"%PDF-": "pdf", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old or encrypted Office file",
    b"{\\rtf": "RTF", b"\x89PNG\r\n": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture", b"\x1f\x8b": "a gzip archive", b"7z\xbc\xaf": "a 7z archive",
    b"BZh": "a bzip2 archive", b"\xfd7zXZ": "an xz archive", b"(\xb5/\xfd": "a zstd archive",
    b"Rar!": "a RAR archive", b"\x7fELF": "a program", b"MZ\x90": "a program",
    b"SQLite format 3": "an SQLite database", b"OggS": "sound", b"ID3": "sound",
    b"PAR1": "a Parquet file", b"%!PS": "PostScript",
}
_ZIPPED = ("docx", "pptx", "xlsx", "epub")

# Pictures and attachments make some formats large, text makes the others so.
_PACKED_BYTES, _TEXT_BYTES = 256 * 2**20, 64 * 2**20
# What can be cut into chunks and embedded within a gigabyte of memory.
_CHARACTERS, _PARTS = 32 * 2**20, 200_000
_PART, _TITLE = 65_536, 2_000  # longest, in characters; a title is embedded with every chunk
_PROBLEMS = 20  # that are told one by one

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def supported(path: Path) -> bool:
    """Whether there is a reader for files called so."""
    return path.suffix.lower() in _READERS


def extensions() -> tuple[str, ...]:
    """The extensions of documents that can be read, with their dots; those of code are many."""
    return tuple(name for name, reader in _READERS.items() if reader != "code")


def limit_of(path: Path) -> int:
    """How many bytes a file called so may have."""
    packed = _READERS[path.suffix.lower()] in ("pdf", "mail", "mbox", *_ZIPPED)
    return _PACKED_BYTES if packed else _TEXT_BYTES


def read_document(path: Path, data: bytes) -> Document:
    """The text of a file and what is known of its places.

    Args:
        path: for its extension only.
        data: the file's bytes.

    Raises:
        DataError: empty, binary, damaged, encrypted, of another format than its name says,
            or without text. The file's name is left to the caller.
    """
    if not data.strip():
        raise DataError("the file is empty")
    named = _READERS[path.suffix.lower()]
    _refuse_liars(path, named, data)
    reader: Reader = import_module(f"phi3kit.ingest.readers.{named}").read
    document = reader(data)
    if len(document.text) > _CHARACTERS:
        raise DataError(f"{len(document.text):,} characters of text are too many for one file",
                        mend=f"Split it into files of at most {_CHARACTERS:,}")
    if len(document.parts) > _PARTS:
        raise DataError(f"{len(document.parts):,} rows are too many for one file",
                        mend=f"Split it into files of at most {_PARTS:,}")
    # JSON escapes and broken fonts can spell what UTF-8 and SQLite cannot hold.
    document = replace(
        document, text=_storable(document.text),
        headings=tuple(replace(h, title=_storable(h.title[:_TITLE])) for h in document.headings),
        problems=tuple(_told(document.problems)))
    if not any(c.isalnum() for c in document.text):
        raise DataError("no text in the file")
    return bounded(document, _PART)


def _told(problems: Sequence[Failure]) -> Iterator[Failure]:
    for problem in problems[:_PROBLEMS]:
        yield Failure(_storable(problem.where), _storable(problem.why))
    if len(problems) > _PROBLEMS:
        yield Failure("elsewhere", f"{len(problems) - _PROBLEMS:,} more places that cannot be read")


def _refuse_liars(path: Path, named: str, data: bytes) -> None:
    begins = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if begins is None and named == "pdf" and b"%PDF-" in data[:1024]:
        return  # junk before the header is common
    if begins == "zip":
        from phi3kit.ingest.readers.archive import kind_of

        # One that cannot even be listed is damaged, which its reader says.
        begins = kind_of(data) or (named if named in _ZIPPED else "zip")
    if begins == named or (begins is None and named not in ("pdf", *_ZIPPED)):
        return
    what = {"pdf": "a PDF", "zip": "a zip archive", None: f"no {named.upper()}"}.get(
        begins, f"a {begins.upper()}" if begins in _ZIPPED else begins)
    raise DataError(f"the content is {what}, though the name says '{path.suffix}'")


def _storable(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)
