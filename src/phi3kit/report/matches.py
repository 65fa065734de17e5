"""Where a passage holds the right answer, and where an answer repeats the passage."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

_WORD = re.compile(r"\w+")
# An answer that shares fewer words in a row with a passage need not have them from there.
_IN_A_ROW = 3
_GAP = " […] "


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a passage: plain text, the right answer, or words that an answer repeats."""

    text: str
    kind: Literal["", "gold", "quoted"] = ""


def pieces(passage: str, gold: Sequence[str], outputs: Sequence[str],
           room: int | None = None) -> list[Piece]:
    """The passage cut into pieces; where both match, it is the right answer's.

    Args:
        passage: its text.
        gold: right answers; found as whole words, however written in case and spaces.
        outputs: answers from this passage; of each the longest run of words that the passage
            has too is marked, from three words on.
        room: characters to keep, those around the first match; None keeps all.
    """
    found: list[Literal["", "gold", "quoted"]] = [""] * len(passage)
    for start, end in _repeated(passage, outputs):
        found[start:end] = ["quoted"] * (end - start)
    for start, end in _standing(passage, gold):
        found[start:end] = ["gold"] * (end - start)
    first, last = _window(passage, found, room)
    cut: list[Piece] = [Piece(_GAP.lstrip())] if first else []
    start = first
    for place in range(first + 1, last + 1):
        if place == last or found[place] != found[start]:
            cut.append(Piece(passage[start:place], found[start]))
            start = place
    return [*cut, Piece(_GAP.rstrip())] if last < len(passage) else cut


def _standing(passage: str, gold: Iterable[str]) -> Iterable[tuple[int, int]]:
    for answer in gold:
        words = answer.split()
        if words:
            spaced = r"\s+".join(map(re.escape, words))
            pattern = rf"(?<!\w){spaced}(?!\w)"
            yield from (found.span() for found in re.finditer(pattern, passage, re.IGNORECASE))


def _repeated(passage: str, outputs: Iterable[str]) -> Iterable[tuple[int, int]]:
    spans = [found.span() for found in _WORD.finditer(passage)]
    words = [passage[start:end].lower() for start, end in spans]
    for output in dict.fromkeys(outputs):
        said = [word.lower() for word in _WORD.findall(output)]
        run = difflib.SequenceMatcher(None, words, said, autojunk=False).find_longest_match()
        if run.size >= _IN_A_ROW:
            yield spans[run.a][0], spans[run.a + run.size - 1][1]


def _window(passage: str, found: Sequence[str], room: int | None) -> tuple[int, int]:
    """Where the kept part begins and ends: around the right answer, or else what is repeated."""
    if room is None or len(passage) <= room:
        return 0, len(passage)
    at = next((found.index(kind) for kind in ("gold", "quoted") if kind in found), 0)
    first = max(0, min(at - room // 3, len(passage) - room))
    return first, first + room
