"""Texts in the form in which they are compared: case, spacing and punctuation do not count."""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby, takewhile

# What asks for something else where it is another: C++ and C#, 7 + 2 and 7 * 2.
SYMBOLS = "+#*/%=<>×÷±≤≥≠√€£¥"
_MINUS = "-\u2212"
_BEFORE_A_SIGN = f"([{{,:;{SYMBOLS}"
_APART = re.compile(r"[^\w\s]+")
# Of Markdown: what makes a heading, a quotation or an item of a list, and what makes bold.
_HEADS = re.compile(r"^[ \t]*(?:#{1,6}|[>*])[ \t]+", re.MULTILINE)
_BOLD = re.compile(r"(?<![^\s(\"'])(\*{1,3})(?=\S)(.+?)(?<=\S)\1(?!\w)")
_RULER = 3  # the same symbol so often stands for nothing


def normal(text: str) -> str:
    """`text` in lower case, compatibility forms folded, its words and symbols one blank apart.

    A combining mark is a part of its word, as a vowel in Hindi is. A symbol is a word of its own,
    whether blanks stand around it or not; a minus stays where it is a number's sign.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    if "*" in folded or "#" in folded or ">" in folded:
        folded = _BOLD.sub(r"\2", _HEADS.sub("", folded))
    return " ".join(_APART.sub(_between, folded).split())


def _between(match: re.Match[str]) -> str:
    """What is kept of a run of characters that are neither letters, digits nor blanks."""
    text, run = match.string, match[0]
    before = text[match.start() - 1:match.start()]
    marks = "" if not before or before.isspace() else "".join(
        takewhile(lambda c: unicodedata.category(c)[0] == "M", run))
    rest = run[len(marks):]
    if not rest:  # the word goes on
        return marks
    signed = (rest[-1] in _MINUS and text[match.end():match.end() + 1].isdigit()
              and (rest[-2:-1] or before or " ") in f" \t\n\r{_BEFORE_A_SIGN}")
    kept = [group for group in ("".join(same) for _, same in groupby(rest))
            if group[0] in SYMBOLS and len(group) < _RULER]
    return f"{marks} {' '.join(kept)} {'-' if signed else ''}"
