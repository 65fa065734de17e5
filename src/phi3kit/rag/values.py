"""Numbers in a text, however they are written: their values, their signs, what they count."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

# What parts thousands beside a comma and a point: blanks of any width, and apostrophes.
_APART = "[ \u00a0\u2009\u202f'’]"
NUMBER = rf"(?:(?<![\w.,])(?<!\w-)\d{{1,3}}(?:{_APART}\d{{3}})+(?!\d)|\d+)(?:[.,]\d+)*"
"""Of a pattern: a number with its separators. In TB-31 200 no thousands begin."""
WORD = re.compile(r"[^\W_]+(?:[-_./'’][^\W_]+)*", re.UNICODE)
"""Letters and digits in one word, with its hyphens: TB-31, K-310, 24V, max_depth, parseURL."""
_FOUND = re.compile(NUMBER)
# A sign stands after a blank or a bracket and right before its number: not in 5-10, 5 -10, - 5.
_SIGN = (r"(?<!\d[ \u00a0])(?:(?<![^\s(\[|\"“]){}|\b(?:minus|negative)\s)\Z")
_SIGN_SAID = re.compile(_SIGN.format("[-\u2212]"), re.IGNORECASE)
_SIGN_THERE = re.compile(_SIGN.format("[-\u2212\u2013]"), re.IGNORECASE)
_LONGEST_SIGN = 12  # characters, with what stands before it
_COUNTED = re.compile(r"[\s-]{0,2}([^\W\d_]{1,20})")
_NO_UNITS = frozenset(("", "a", "an", "and", "are", "at", "by", "for", "from", "in", "is", "of",
                       "on", "or", "per", "the", "to", "wa", "with"))
_SPOKEN = {
    "zero": 0, "one": 1, "once": 1, "two": 2, "twice": 2, "three": 3, "four": 4, "five": 5,
    "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
    "dozen": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
    "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
    "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100}


def holds(there: str, text: str, start: int, end: int) -> bool:
    """Whether a text has the number that stands at `start` to `end` in `text`, with its sign."""
    found = values(there)
    sign = "-" if is_signed(text, start) else ""
    if {f"{sign}{value}" for value in _readings(text[start:end])} & found:
        return True
    parts = _parts(text, start, end)
    return bool(parts) and all(_readings(part) & found for part in parts)


def is_signed(text: str, at: int) -> bool:
    """Whether the number at `at` is a negative one."""
    return _SIGN_SAID.search(text[max(0, at - _LONGEST_SIGN):at]) is not None


@lru_cache(maxsize=64)
def values(text: str) -> frozenset[str]:
    """The values of all numbers in a text, in digits or words; a negative one's size too."""
    found: set[str] = set()
    for match in _FOUND.finditer(text):
        here = _readings(match.group()).union(
            *map(_readings, _parts(text, match.start(), match.end())))
        found |= here
        if _SIGN_THERE.search(text[max(0, match.start() - _LONGEST_SIGN):match.start()]):
            found |= {f"-{value}" for value in here}
    for match in WORD.finditer(text.casefold()):
        tens, _, units = match.group().partition("-")  # twenty-one
        if tens in _SPOKEN:
            found.add(str(_SPOKEN[tens] + _SPOKEN.get(units, 0)))
    return frozenset(found)


def unit(text: str, end: int) -> str:
    """The word after a number that ends at `end`, as `units` has it; "" if there is none."""
    match = _COUNTED.match(text, end)
    return match[1].casefold().removesuffix("s") if match else ""


@lru_cache(maxsize=64)
def units(text: str) -> frozenset[str]:
    """What is counted in a text: the words that follow its numbers, in the singular."""
    ends = [match.end() for match in _FOUND.finditer(text)]
    ends += [match.end() for match in WORD.finditer(text)
             if match.group().casefold().partition("-")[0] in _SPOKEN]
    return frozenset(unit(text, end) for end in ends) - _NO_UNITS


def _parts(text: str, start: int, end: int) -> list[str]:
    """What a number with blanks is, should it be a row of numbers: "1 200 300", "M8 14 500".

    Two groups alone, such as "12 500", are a number.
    """
    parts = text[start:end].split(" ")
    among = re.search(r"\d \Z", text[:start][-2:]) or re.match(r" \d", text[end:end + 2])
    return parts if len(parts) > 2 or (len(parts) == 2 and among) else []


def _readings(number: str) -> set[str]:
    """The values that a number may have: 1,200 is 1200 in English and 1.2 in German.

    What is no value in either, such as a date or a version, stands for itself.
    """
    number = re.sub(_APART, "", number)
    found = set()
    for thousands, point in ((",", "."), (".", ",")):
        whole, _, part = number.partition(point)
        groups = whole.split(thousands)
        if not (point in part or thousands in part or any(len(g) != 3 for g in groups[1:])):
            value = Decimal(f"{''.join(groups)}.{part or '0'}")
            found.add(f"{value.normalize():f}")
    return found or {number}
