"""Rows that are put down as they are made, so that an interrupted command goes on from them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phi3kit.dataset.lines import json_lines
from phi3kit.errors import DataError
from phi3kit.parsing import read_json

_MEND = "Name another file with --out"


class Staged:
    """An append-only JSON Lines file; its first line says what the rows belong to.

    Half a line, which a killed process leaves behind, is cut off.

    Args:
        identity: what the rows depend on.

    Attributes:
        path: of the file.
        rows: all of them, in the order in which they were put down.

    Raises:
        DataError: the file has rows of another identity, whose difference is named; is damaged;
            or cannot be read or written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        lines = self._whole_lines()
        if not lines:
            self._write([identity], mode="w")
            return
        head, *rows = lines
        if head != dict(identity):
            other = sorted(key for key in {*head, *identity} if head.get(key) != identity.get(key))
            raise DataError(f"was begun with another {', '.join(other)}", where=str(path),
                            mend="Go on with the same, choose another --out, or remove this file")
        self.rows = rows

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Put rows down; they are on the disk when this returns.

        Raises:
            DataError: they cannot be written; the rows of before stand.
        """
        self._write(rows, mode="a")
        self.rows.extend(rows)

    def _whole_lines(self) -> list[dict[str, Any]]:
        try:
            content = self.path.read_bytes()
            whole = content[:content.rfind(b"\n") + 1]
            if len(whole) != len(content):
                os.truncate(self.path, len(whole))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise DataError(f"cannot be read and written ({error.strerror or error})",
                            where=str(self.path), mend=_MEND) from error
        try:
            lines = [read_json(line) for line in whole.decode("utf-8").split("\n")[:-1]]
        except ValueError as error:
            raise DataError(f"is damaged ({error})", where=str(self.path),
                            mend="Remove it and begin anew") from error
        return lines

    def _write(self, rows: Sequence[Mapping[str, Any]], *, mode: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open(mode, encoding="utf-8", newline="\n") as out:
                out.write(json_lines(rows))
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            raise DataError(f"cannot be written ({error.strerror or error})",
                            where=str(self.path), mend=_MEND) from error
