"""Records with their line numbers, from JSON, JSON Lines and CSV files."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi3kit.dataset.foreign import refuse_foreign
from phi3kit.dataset.quotes import opened_at
from phi3kit.errors import DataError
from phi3kit.parsing import read_json
from phi3kit.records import Failure

_NESTED = ("messages", "conversations")
_TEXT_OR_TURNS = ("prompt", "completion")


@dataclass(frozen=True)
class Record:
    """One record, as the file has it.

    Attributes:
        line: the 1-based line where it begins, which no other record of the file has. Where two
            items of a JSON array begin on one line, all items of the file have their 1-based
            place in the array instead: lines tell examples apart.
    """

    value: Any
    line: int


def read_records(path: Path) -> tuple[list[Record], list[Failure]]:
    """The records of `path`, by its suffix: .json, .jsonl (.ndjson) or .csv.

    Returns:
        The records, and a failure for each line that could not be read.

    Raises:
        DataError: missing, a folder, packed, not UTF-8, another suffix, or broken beyond one
            line; a CSV file with semicolons or tabs, or whose header is broken or names a column
            twice.
    """
    try:
        refuse_foreign(path)
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError("no such file", where=str(path), mend="Check the name") from error
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8", where=str(path), mend="Save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path),
                        mend="Name a file that you may read") from error
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv(path, text)
    # Many a .json file holds JSON Lines; its first character tells.
    if suffix == ".json" and text.lstrip()[:1] == "[":
        return _json_array(path, text)
    if suffix == ".json" and (whole := _one_value(text)) is not None:
        return [whole], []
    if suffix in (".json", ".jsonl", ".ndjson"):
        return _json_lines(path, text)
    raise DataError(f"'{path.suffix}' is no format of examples", where=str(path),
                    mend="Use .jsonl, .json or .csv")


def _json_lines(path: Path, text: str) -> tuple[list[Record], list[Failure]]:
    records, failures = [], []
    # Not splitlines(): JSON strings may hold U+2028 and its like.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append(Record(read_json(line), number))
        except ValueError as error:
            failures.append(Failure(f"{path}:{number}", f"not valid JSON ({error}). "
                                                        "Write one {…} per line"))
    return records, failures


def _one_value(text: str) -> Record | None:
    """The one object that the text is, over however many lines; None if it is anything else."""
    try:
        value = read_json(text)
    except ValueError:
        return None
    blank = len(text) - len(text.lstrip())
    return Record(value, 1 + text.count("\n", 0, blank))


def _json_array(path: Path, text: str) -> tuple[list[Record], list[Failure]]:
    """The items of a JSON array with their numbers; one broken item breaks the file."""
    items = list(_items(path, text))
    lines = [line for line, _ in items]
    by_line = len(set(lines)) == len(lines)
    records: list[Record] = []
    failures: list[Failure] = []
    for place, (line, item) in enumerate(items, start=1):
        number = line if by_line else place
        try:
            records.append(Record(read_json(item), number))
        except ValueError as error:  # valid, and not to be used all the same
            failures.append(Failure(f"{path}:{number}", f"{error}. Mend this example"))
    return records, failures


def _items(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """The 1-based line where each item of a JSON array begins, and its text.

    Raises:
        DataError: an item is no JSON, or there is text after the array.
    """
    decoder = json.JSONDecoder()
    at = text.index("[") + 1
    line, counted, first = 1, 0, True
    while True:
        at = _skip(text, at, "" if first else ",")
        line, counted = line + text.count("\n", counted, at), at
        if at < len(text) and text[at] == "]":
            if text[at + 1:].strip():
                raise DataError("there is text after the closing ]", where=f"{path}:{line}",
                                mend="Put all examples into one list, or use one {…} per line")
            return
        first = False
        try:
            _, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise DataError(f"not valid JSON ({error})", where=f"{path}:{line}",
                            mend="Mind commas and quotes, or use one {…} per line") from error
        yield line, text[counted:at]


def _skip(text: str, at: int, separator: str) -> int:
    """Past white space and at most one separator."""
    for allowed in (separator, ""):
        while at < len(text) and text[at].isspace():
            at += 1
        if allowed and text[at:at + 1] == allowed:
            at += 1
    return at


def _csv(path: Path, text: str) -> tuple[list[Record], list[Failure]]:
    csv.field_size_limit(1 << 30)  # an answer may be longer than the module's 128 KiB
    # "question, answer": a space behind a comma belongs to no name, and would hide a cell's quotes.
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        rows.fieldnames = names = [name.strip() for name in rows.fieldnames or ()]
    except csv.Error as error:
        _refuse_separator(path, text)
        raise DataError(f"its header is not valid CSV ({error})", where=f"{path}:1",
                        mend="Put quotes around whole names only, or around none") from error
    if len(names) == 1:
        _refuse_separator(path, text)
    twice = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if twice is not None:  # a record holds one of each name: the other's cells would be gone
        raise DataError(f"two of its columns are called '{twice}'", where=f"{path}:1",
                        mend="Give each a name of its own, or remove one")
    records: list[Record] = []
    failures: list[Failure] = []
    while True:
        begins = rows.reader.line_num + 1  # DictReader's own count passes over broken records
        try:
            row: dict[Any, Any] | None = next(rows, None)
        except csv.Error as error:
            failures.append(_not_csv(path, text, begins, rows.reader.line_num, error))
            continue
        if row is None:
            return records, failures
        begins = max(begins, 2)  # the first record follows the header line
        if None in row or None in row.values():
            failures.append(Failure(f"{path}:{begins}", "not as many fields as the header has. "
                                                        "Quote fields that hold commas"))
            continue
        records.append(Record(_unnested(row), begins))


def _refuse_separator(path: Path, text: str) -> None:
    """Tell of semicolons or tabs where commas part the header into nothing.

    Raises:
        DataError: one of them parts it.
    """
    header = text.partition("\n")[0]
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(next(csv.reader([header], delimiter=mark), [])) > 1:
            raise DataError(f"its fields are separated by {name}, not by commas",
                            where=f"{path}:1", mend="Save it with commas")


def _not_csv(path: Path, text: str, begins: int, ends: int, error: csv.Error) -> Failure:
    """Why the record from line `begins` to `ends` is none.

    Raises:
        DataError: a quote that is closed nowhere has taken the rest of the file along.
    """
    lines = text.split("\n")
    last = len(lines) if lines[-1] else len(lines) - 1
    opened = opened_at(lines[begins - 1:ends]) + begins
    if ends == begins or opened == ends:
        return Failure(f"{path}:{begins}", f"not valid CSV ({error}). Double the quotes inside a "
                                           "field")
    if ends >= last and "unexpected end" in str(error):
        raise DataError(f"a quote opens here and is closed nowhere: lines {opened} to {last} "
                        "would be lost", where=f"{path}:{opened}",
                        mend="Close it, or double the quotes inside a field")
    return Failure(f"{path}:{opened}", f"a quote opens here and the next one, in line {ends}, ends "
                                       f"no field: lines {begins} to {ends} are lost. Close it, or "
                                       "double the quotes inside a field")


def _unnested(row: dict[Any, Any]) -> dict[str, Any]:
    """Cells of turns are JSON inside CSV; what is none stays text and is reported later.

    A prompt or a completion is turns only where each of its objects has a role and a content: an
    answer may be a list in JSON.
    """
    for field in (*_NESTED, *_TEXT_OR_TURNS):
        if field in row:
            try:
                held = read_json(row[field])
            except ValueError:
                continue
            if field in _NESTED or _is_turns(held):
                row[field] = held
    return row


def _is_turns(held: Any) -> bool:
    return isinstance(held, list) and bool(held) and all(
        isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in held)
