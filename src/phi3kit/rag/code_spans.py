"""Code in Markdown that is still being written: where it begins and where it ends.

A stray backtick begins nothing: a span of code closes on its line, as far as is looked. A block
begins with a line of three backticks or more, and ends with another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST = 200  # characters of a span, and of what a block's first line says; bounds the wait
_RUN = re.compile(rf"`{{1,{LONGEST}}}")
_STEP = re.compile(r"`+|\n")


@dataclass(frozen=True, slots=True)
class Backticks:
    """What a run of backticks begins.

    Attributes:
        end: one past the last character that is judged.
        is_code: whether all up to there is code.
        fence: backticks that began the block which goes on at `end`; 0: none does.
    """

    end: int
    is_code: bool
    fence: int


def judge(text: str, at: int, *, fence: int, begins_line: bool, last: bool) -> Backticks | None:
    """What the backtick at `at` begins or ends; None when that takes more text to tell.

    Args:
        fence: of the block that is open there; 0: none is.
        begins_line: whether nothing but white space stands before it on its line.
        last: whether no more text comes.
    """
    run = _RUN.match(text, at)
    assert run is not None
    size, end = len(run.group()), run.end()
    if end == len(text) and size < LONGEST and not last:
        return None
    if fence:
        closes = begins_line and size >= fence
        return Backticks(end, True, 0 if closes else fence)
    ahead = text[end:end + LONGEST]
    is_whole = last or len(ahead) == LONGEST
    if begins_line and size >= 3:
        said, line_feed, _ = ahead.partition("\n")
        if "`" not in said:
            if line_feed or (last and len(ahead) < LONGEST):
                return Backticks(end + len(said.rstrip()), True, size)
            return Backticks(end, False, 0) if is_whole else None
    for step in _STEP.finditer(ahead):
        if step.group() == "\n":
            return Backticks(end, False, 0)
        if step.end() == len(ahead) and not is_whole:
            return None
        if len(step.group()) == size:
            return Backticks(end + step.end(), True, 0)
    return Backticks(end, False, 0) if is_whole else None
