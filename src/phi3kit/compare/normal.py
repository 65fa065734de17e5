"""Texts as they are compared: what words and numbers say is kept, how they are written is not."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Collection
from itertools import groupby
from typing import Literal

from phi3kit.rag.spelling import spelt

_ARTICLES = frozenset({"a", "an", "the"})
# Of punctuation, what asks for something else where it is another; so do all Sm and Sc.
_OPERATORS = frozenset("#%&*/-!^§‰‱′")
_RULER = 4  # the same operator so often stands for nothing
# NFKC would make 11/2 of 1½ and 102 of 10².
_FRACTION = re.compile("(?<=\\d)(?=[\u00bc-\u00be\u2150-\u215f])")
_POWER = re.compile("(?<=\\d)(?=[\u00b2\u00b3\u00b9\u2070\u2074-\u207b])")
_ASCII = str.maketrans("\u2044\u2212", "/-")
# Of Markdown: what makes a heading, a quotation or an item of a list; what makes bold or formulas.
_HEADS = re.compile(r"^[ \t]*(?:(?:#{1,6}|\*)(?=[ \t])|>(?=[ \t]+[^\W\d]))", re.MULTILINE)
_PAIRED = re.compile(r"(?<!\w)(\*{1,3}|~~|\$)(?=\S)(.+?)(?<=\S)\1(?!\w)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_RANGE = re.compile(r"(?<=\d)\s*[-–—]\s*(?=\d)")
_PARTS = re.compile(r"(?<=\d)\s+/\s+(?=\d)")
_POINT = re.compile(r"(?<![\w.])\.(?=\d)")
_IN_NUMBERS = re.compile(r"(?<=\d)[.,:](?=\d)")
_APART = re.compile(r"(?:[^\w\s]|_)+")


@functools.lru_cache(maxsize=64)
def normalise(text: str, keep: Collection[str] = frozenset()) -> str:
    """Lower case, no punctuation, no articles, single spaces.

    SQuAD's normalisation (Rajpurkar et al. 2016, arXiv:1606.05250, evaluate-v1.1.py). Ours is
    what keeps different answers apart, and equal ones together in any script:

    - Numbers keep what distinguishes them: 7.5, 7,5 and 75, 3/4 and 34, 10:30, -5 and 5.
      10-12 is not 1012, 1,000 is 1000, .5 is 0.5, and ½ is 1/2.
    - Signs and operators stay: A+, A and A-, C and C#, == and !=, 5% and 5. Those after a
      name and a minus before one are a part of it, others words of their own. Hyphens within
      words, dashes and the marks of Markdown go.
    - Punctuation is that of Unicode (P), not of ASCII. Compatibility forms are folded (NFKC),
      and each sign of Chinese and Japanese is a word (see `rag.spelling`).
    - A text that is nothing but an article (the label "A") stays, and so does one that is
      nothing but punctuation ("{}").

    Args:
        keep: articles that stay where they are written so (see `article_label`).
    """
    folded = spelt(_POWER.sub("^", _FRACTION.sub(" ", text))).translate(_ASCII)
    words = _words(folded)
    kept = [word for word in words if word.casefold() not in _ARTICLES or word in keep] or words
    return (" ".join(kept) or " ".join(folded.split())).casefold()


def article_label(answer: str) -> frozenset[str]:
    """The articles that an answer is made of, as written and in capitals; none if it has more.

    A model that answers "The answer is A." means the label; "it is a seal" does not.
    """
    words = _words(answer)
    return (frozenset((*words, *map(str.upper, words)))
            if all(word.casefold() in _ARTICLES for word in words) else frozenset())


def _words(folded: str) -> list[str]:
    text = _PAIRED.sub(r"\2", _HEADS.sub("", folded))
    text = _PARTS.sub("/", _RANGE.sub(" ", _THOUSANDS.sub("", text)))
    return _APART.sub(_between, _POINT.sub("0.", text)).split()


def _between(match: re.Match[str]) -> str:
    """What stays of a run of characters that are neither letters, digits nor blanks."""
    text, run = match.string, match[0]
    if _IN_NUMBERS.match(text, match.start()) and len(run) == 1:
        return run
    tied = bool(text[match.start() - 1:match.start()].strip())
    ends_tied = bool(text[match.end():match.end() + 1].strip())
    kept, at = "", 0
    for kind, chars in groupby(run, _kind):
        part = "".join(chars)
        at += len(part)
        if kind == "operator":
            kept += _operator(part, before=tied, after=ends_tied and at == len(run))
        elif kind == "word":
            kept += part
        tied = kind == "word"
    return kept


@functools.cache
def _kind(char: str) -> Literal["operator", "prose", "word"]:
    """A combining mark is a part of its word, as a vowel in Hindi is, and so is °."""
    category = unicodedata.category(char)
    if char in _OPERATORS or category in ("Sm", "Sc"):
        return "operator"
    return "prose" if category[0] in "PC" or char == "`" else "word"


def _operator(part: str, *, before: bool, after: bool) -> str:
    """What stays of operators that stand together.

    Args:
        before: whether a word ends where they begin; `after`: one begins where they end.
    """
    mark = part[0] if len(set(part)) == 1 else ""
    if mark and len(part) >= _RULER:
        return ""
    infix, alone = before and after, not before and not after
    if mark == "/":
        return part if infix else ""
    if part in ("|", "#") and alone:
        return ""
    if mark and mark in "-!" and not (before and part == "-"):
        return f" {part}" if after and not before else ""
    if mark == "-":
        return "" if infix else f"{part} "
    if mark and mark in "+#*" and before and not after:
        return f"{part} "
    return "" if mark == "*" and not (infix or alone) else f" {part} "
