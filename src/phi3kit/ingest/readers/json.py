"""JSON: a passage per record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document, Heading, joined
from phi3kit.ingest.readers.decode import decode

# What an envelope says stands above each of its records if it has at most so many characters.
_SAID = 200


def read(data: bytes) -> Document:
    """The items of a list, or the one value that the file is, as "name: value" lines.

    An object that holds one list of objects is an envelope: each of them is a passage, under
    the list's name and what else the object says in few words; the whole of it comes first.

    Raises:
        DataError: not JSON.
    """
    try:
        value = json.loads(decode(data))
    except json.JSONDecodeError as error:
        raise DataError(f"line {error.lineno}: not JSON ({fault(error)})") from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"JSON that cannot be read ({type(error).__name__})") from error
    found = _lists(value, ()) if isinstance(value, dict) else []
    if len(found) == 1:
        return _enveloped(value, *found[0])
    records = value if isinstance(value, list) else [value]
    lines = [line for line in map(describe, records) if line]
    return joined([(line, None) for line in lines])


def fault(error: Exception) -> str:
    """What Python says of text that is not JSON, which may end where it would name the place."""
    return getattr(error, "msg", type(error).__name__).removesuffix(" at")


def _lists(value: dict[str, Any], path: tuple[str, ...]) -> list[tuple[tuple[str, ...], list[Any]]]:
    """The lists of objects in an object, with the keys that lead there."""
    found = []
    for key, inner in value.items():
        if isinstance(inner, dict):
            found += _lists(inner, (*path, key))
        elif isinstance(inner, list) and inner and all(isinstance(item, dict) for item in inner):
            found.append(((*path, key), inner))
    return found


def _enveloped(envelope: dict[str, Any], path: tuple[str, ...], records: list[Any]) -> Document:
    rest = list(_leaves(_without(envelope, path), ""))
    said = ", ".join(f"{name}: {text}" for name, text in rest)
    lines = [line for line in map(describe, records) if line]
    title = ".".join(path) if not rest or len(said) > _SAID else f"{said} > {'.'.join(path)}"
    first = [describe(_without(envelope, path))] if rest else []
    document = joined([(line, None) for line in (*first, *lines)])
    if not lines:
        return document
    start = document.parts[len(first)].start
    return replace(document, headings=(Heading(start, start, 1, title),))


def _without(value: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    key, *left = path
    return {name: _without(inner, tuple(left)) if left and name == key else inner
            for name, inner in value.items() if left or name != key}


def describe(record: Any) -> str:
    """A record as lines of "path.to.field: value"; empty values are left out."""
    return "\n".join(f"{name}: {value}" if name else value for name, value in _leaves(record, ""))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for at, item in enumerate(value, start=1):
            yield from _leaves(item, f"{name}.{at}" if name else str(at))
    elif isinstance(value, list):
        yield name, ", ".join(_scalar(item) for item in value)
    elif value is not None and value != "":
        yield name, _scalar(value)


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
