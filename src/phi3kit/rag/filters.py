"""Which passages may be found at all: filters on what the store knows of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from phi3kit.errors import SettingsError
from phi3kit.files import composed

if TYPE_CHECKING:
    from phi3kit.ingest.rows import Place

_KEYS = ("source", "type", "heading", "page")
_MEND = ("Write source=handbook/*.md, type=pdf, heading=safety, page=3 or page=3-8")


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters that are read and checked.

    Attributes:
        texts: as they were given, sorted, each once: equal filters have equal texts.
    """

    texts: tuple[str, ...]
    _tests: tuple[tuple[Callable[[Place], bool], ...], ...]

    def match(self, place: Place) -> bool:
        """Whether the place passes: for every key, one of the filters with that key."""
        return all(any(test(place) for test in tests) for tests in self._tests)


def read_filters(texts: Sequence[str]) -> Filters:
    """Filters from "key=value" texts.

    Different keys have to hold together, at one place of the passage; of several filters with
    the same key one has to.

    - `source=PATTERN`: a file or a folder with all that is in it, from the end of the path:
      `seals.md`, `handbook/*.md`, `handbook`. A `*` stays within one name. What is written
      as the path is matches it, brackets included.
    - `type=pdf`: ending of the file's name.
    - `heading=safety`: stands in one of the headings above, in upper or lower case.
    - `page=3`, `page=3-8`: of formats that have pages, both ends included.

    Raises:
        SettingsError: no such key, no value, or pages that are not numbers in order.
    """
    tests: dict[str, list[Callable[[Place], bool]]] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or key not in _KEYS:
            raise SettingsError("not a filter", where=f"--filter {text}", mend=_MEND)
        if not value:
            raise SettingsError(f"the filter has no value for '{key}'",
                                where=f"--filter {text}", mend=_MEND)
        tests.setdefault(key, []).append(_test(key, value, text))
    return Filters(tuple(sorted({text.strip() for text in texts})),
                   tuple(tuple(group) for group in tests.values()))


def _test(key: str, value: str, text: str) -> Callable[[Place], bool]:
    if key == "source":
        return _source(value)
    if key == "type":
        ending = "." + value.removeprefix(".").casefold()
        return lambda place: place.source.casefold().endswith(ending)
    if key == "heading":
        words = " ".join(composed(value).casefold().split())
        return lambda place: words in " ".join(composed(place.heading).casefold().split())
    first, last = _pages(value, text)
    return lambda place: place.page is not None and first <= place.page <= last


def _source(value: str) -> Callable[[Place], bool]:
    pattern = composed(value).replace("\\", "/").removeprefix("./").removesuffix("/**").rstrip("/")
    pattern = pattern if pattern not in ("", ".") else "*"

    def test(place: Place) -> bool:
        path = PurePosixPath(composed(place.source))
        return any(part.match(pattern) or f"/{part}".endswith(f"/{pattern}")
                   for part in (path, *path.parents[:-1]))

    return test


def _pages(value: str, text: str) -> tuple[int, int]:
    first, dash, last = (part.strip() for part in value.replace("–", "-").partition("-"))
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise SettingsError("pages are numbers", where=f"--filter {text}", mend=_MEND)
    ends = int(first), int(last or first)
    if not 1 <= ends[0] <= ends[1]:
        raise SettingsError("pages count from 1, the first one first",
                            where=f"--filter {text}", mend=_MEND)
    return ends
