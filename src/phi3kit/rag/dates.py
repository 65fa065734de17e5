"""Dates in a text, however they are written: 2026-03-05, 05.03.2026, 5 March 2026."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = (r"(?P<name>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
          r"|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?")
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
_WRITTEN = tuple(re.compile(rf"(?<![\w.,/-]){pattern}(?![\w/-]|[.,]\d)") for pattern in (
    rf"{_YEAR}(?P<by>[-./])(?P<month>\d{{1,2}})(?P=by)(?P<day>\d{{1,2}})",
    rf"(?P<day>\d{{1,2}})(?P<by>[-./])(?P<month>\d{{1,2}})(?P=by){_YEAR}",
    rf"{_DAY}(?:\s+of)?\s+{_MONTH}(?:,?\s+{_YEAR})?",
    rf"{_MONTH}\s+{_DAY}(?:,?\s+{_YEAR})?",
    rf"{_MONTH},?\s+{_YEAR}"))

_Day = tuple[int | None, int, int | None]  # year, month, day; None: not said


@dataclass(frozen=True, slots=True)
class Date:
    """A date and where it stands.

    Attributes:
        readings: what it may be, for 03/05/2026 is in March or in May.
    """

    start: int
    end: int
    readings: frozenset[_Day]

    def stands_in(self, text: str) -> bool:
        """Whether a text gives this date; what is not said of it (the year) may be any."""
        return any(_agree(mine, other) for mine in self.readings for date in _there(text)
                   for other in date.readings)


def dates(text: str) -> Iterator[Date]:
    """Every date with a month and one thing more; those within others too."""
    for pattern in _WRITTEN:
        for match in pattern.finditer(text):
            said = match.groupdict()
            year, day = (int(said[key]) if said.get(key) else None for key in ("year", "day"))
            readings: set[_Day] = set()
            month = (_MONTHS.index(said["name"][:3]) + 1 if said.get("name")
                     else int(said["month"]))
            readings.add((year, month, day))
            if said.get("by") == "/" and day is not None:
                readings.add((year, day, month))
            if valid := frozenset(one for one in readings if _is_valid(one)):
                yield Date(match.start(), match.end(), valid)


@lru_cache(maxsize=64)
def _there(text: str) -> tuple[Date, ...]:
    return tuple(dates(text))


def _is_valid(day: _Day) -> bool:
    return 1 <= day[1] <= 12 and (day[2] is None or 1 <= day[2] <= 31)


def _agree(said: _Day, there: _Day) -> bool:
    return all(mine in (None, other) for mine, other in zip(said, there, strict=True))
