"""Passages that follow each other in a document become one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from phi3kit.files import sha256_bytes
from phi3kit.records import Passage

# Characters between two chunks of one text: white space that the chunker leaves out.
_GAP = 4


def merge_neighbours(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """Join passages of one document that follow each other, in the document's order.

    A joined passage stands where the better of its parts stood and has its score and ID; its
    place is that of all parts, its heading what theirs have in common. A sentence that the
    chunker cut in two, or a table's row and its next, are then read together. White space
    between them, which no chunk holds, becomes as many line feeds: characters keep their
    places.
    """
    merged = list(passages)
    joined = True
    while joined:  # what was joined may reach up to another one
        joined = False
        for a, b in itertools.combinations(range(len(merged)), 2):
            if _follow(merged[a], merged[b]):
                merged[a] = _join(merged[a], merged.pop(b))
                joined = True
                break
    return tuple(merged)


def _follow(one: Passage, other: Passage) -> bool:
    if (one.source, one.page) != (other.source, other.page):
        return False
    first, second = sorted((one, other), key=lambda p: p.start)
    return 0 <= second.start - first.end <= _GAP


def _join(better: Passage, other: Passage) -> Passage:
    first, second = sorted((better, other), key=lambda p: p.start)
    text = f"{first.text}{chr(10) * (second.start - first.end)}{second.text}"
    common = [a for a, b in zip(first.heading.split(" > "), second.heading.split(" > "),
                                strict=False) if a == b]
    return replace(better, text=text, sha256=sha256_bytes(text.encode()), start=first.start,
                   end=second.end, heading=" > ".join(common),
                   sources=tuple(s for s in better.sources if s in other.sources))
