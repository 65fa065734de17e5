"""Markdown: the text as it stands, with its headings."""

from __future__ import annotations

import re

from phi3kit.ingest.document import Document, Heading, whole
from phi3kit.ingest.readers.decode import decode

# Above an empty line "---" is a rule across the page, and what follows is text.
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?![ \t]*\n).*?\n---[ \t]*(?:\n|\Z)", re.DOTALL)
# On one line; what YAML writes in other ways is left alone.
_TITLE = re.compile(r"^title:[ \t]+(?P<quote>[\"']?)(?P<title>[^\s\"'|>&*!#\[{][^\n\"]*?)"
                    r"(?P=quote)[ \t]*$", re.MULTILINE)


def read(data: bytes) -> Document:
    """The text as it stands, front matter included; headings as CommonMark sees them.

    The title that front matter gives is one of the whole, unless a heading repeats it.
    """
    text = decode(data)
    headings = find_headings(text)
    front = _FRONT_MATTER.match(text)
    title = _TITLE.search(front[0]) if front else None
    if title and title["title"] not in {heading.title for heading in headings}:
        headings = (Heading(0, 0, 0, title["title"]), *headings)
    return whole(text, headings, markdown=True)


def find_headings(text: str) -> tuple[Heading, ...]:
    """Headings outside of lists and quotes; "#" inside of code is none."""
    from markdown_it import MarkdownIt

    # CommonMark would take the end of YAML front matter for the underline of a heading.
    front = _FRONT_MATTER.match(text)
    body = text if front is None else "\n" * front.group().count("\n") + text[front.end():]
    starts = [0]
    starts.extend(match.end() for match in re.finditer("\n", text))
    starts.append(len(text))
    tokens = MarkdownIt("commonmark").parse(body)
    found = []
    for at, token in enumerate(tokens):
        if token.type != "heading_open" or token.level or token.map is None:
            continue
        inline = tokens[at + 1]
        children = inline.children or ()
        title = "".join(child.content or " " for child in children
                        if child.type in ("text", "code_inline", "softbreak", "hardbreak"))
        if not title.strip():  # pictures alone, which have their words
            title = " ".join(child.content for child in children if child.type == "image")
        first, after = token.map
        end = starts[min(after, len(starts) - 1)]
        start = starts[first]
        found.append(Heading(start, start + len(text[start:end].rstrip()), int(token.tag[1:]),
                             " ".join(title.split())))
    return tuple(found)
