"""Source code and configuration: the text as it stands, with the names that it defines."""

from __future__ import annotations

import re

from phi3kit.ingest.document import Document, Heading, whole
from phi3kit.ingest.readers.decode import decode

_WORDS = ("class", "def", "function", "fn", "func", "interface", "struct", "enum", "trait", "impl",
          "module", "namespace", "record", "object", "protocol", "extension", "fun", "sub", "type",
          "message", "service")
_BEFORE = ("export", "default", "public", "private", "protected", "internal", "static", "final",
           "abstract", "async", "pub", "sealed", "open", "override", "virtual", "data", "local",
           "partial", "unsafe", "const", "inline")
# "def name", "export async function name", "func (r *Receiver) name"; then "[section]" of INI
# and TOML, "int name(...)" of C at the line's start, "create table name" of SQL. Every
# repetition is bounded: no line can make it slow.
_DEFINES = re.compile(
    rf"^(?P<indent>[ \t]{{0,40}})(?:(?:{'|'.join(_BEFORE)})(?:\([a-z]{{1,20}}\))?[ \t]{{1,4}})"
    rf"{{0,4}}(?:{'|'.join(_WORDS)})\b[ \t]{{0,4}}\*?(?:\([^()\n]{{0,80}}\)|<[^<>\n]{{0,80}}>)?"
    r"[ \t]{0,4}(?P<name>[^\W\d][\w.:$]{0,80})(?=[ \t]{0,4}(?:[(\[{<:=;]|$|extends\b|implements\b|"
    r"for\b|where\b|struct\b|interface\b|is\b))"
    r"|^\[{1,2}(?P<section>[^\[\]\n]{1,80})\]{1,2}[ \t]{0,8}$"
    r"|^(?!return\b|else\b|typedef\b)[A-Za-z_][\w*&:<>, \t]{0,80}[ \t*&]"
    r"(?P<c>[A-Za-z_][\w:~]{0,60})\([^;{}()\n]{0,200}\)[ \t]{0,4}\{?[ \t]{0,4}$"
    r"|^(?i:create[ \t]{1,4}(?:or[ \t]{1,4}replace[ \t]{1,4})?(?:table|view|function|procedure|"
    r"index|trigger|type)[ \t]{1,4}(?:if[ \t]{1,4}not[ \t]{1,4}exists[ \t]{1,4})?)"
    r"(?P<sql>[\w.\"`]{1,80})", re.MULTILINE)
_DEEPEST = 6


def read(data: bytes) -> Document:
    """The text; a heading per class, function, table or section, for citations to show.

    Raises:
        DataError: binary data.
    """
    text = decode(data)
    return whole(text, _definitions(text))


def _definitions(text: str) -> tuple[Heading, ...]:
    """Found by the line's first words alone: a heading helps to find the place, no more."""
    found = []
    for match in _DEFINES.finditer(text):
        name = match[match.lastgroup or 0]
        indent = (match["indent"] or "").replace("\t", "    ")
        # Four blanks are a level; two are as common, and deeper is deeper all the same.
        level = min(_DEEPEST, 1 + (len(indent) + 2) // 4)
        end = text.find("\n", match.end())
        found.append(Heading(match.start(), len(text) if end < 0 else end, level,
                             name.strip("\"`:. ")))
    return tuple(found)
