"""Answers on disk, one row a line, written as they are made."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from phi3kit.errors import RunError
from phi3kit.files import write_atomic
from phi3kit.records import Row, as_json


class RowFile:
    """rows.jsonl of a run folder: what an earlier run left is read, what is new is appended.

    A last line that an interruption tore off is cut away, so that its question is asked
    again.

    Attributes:
        rows: the rows so far, by (arm, seed, question id).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: dict[tuple[str, int, str], Row] = {}
        if not path.exists():
            return
        data = path.read_bytes()
        whole = data[:data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(path, len(whole))
        for row in _parse(whole, path):
            self.rows[_key(row)] = row  # the last one: what failed was asked again

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows and see that they are on disk before returning."""
        fresh = list(rows)
        with self._path.open("a", encoding="utf-8", newline="\n") as out:
            out.write(_lines(fresh))
            out.flush()
            os.fsync(out.fileno())
        self.rows.update({_key(row): row for row in fresh})

    def rewrite(self, rows: Iterable[Row]) -> None:
        """Put `rows` in the place of those that they are, first and in this order."""
        given = {_key(row): row for row in rows}
        others = {key: row for key, row in self.rows.items() if key not in given}
        self.rows = given | others
        write_atomic(self._path, _lines(self.rows.values()))


def _key(row: Row) -> tuple[str, int, str]:
    return row.arm, row.seed, row.question_id


def _lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(as_json(row), ensure_ascii=False) + "\n" for row in rows)


def _parse(data: bytes, path: Path) -> list[Row]:
    found = []
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            found.append(msgspec.json.decode(line, type=Row))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RunError(f"not a row of a comparison ({error})", where=f"{path}:{number}",
                           mend="Run compare again with --fresh") from error
    return found
