"""JSON Lines: a passage per line."""

from __future__ import annotations

import json

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document, joined
from phi3kit.ingest.readers.decode import decode
from phi3kit.ingest.readers.json import describe, fault
from phi3kit.records import Failure


def read(data: bytes) -> Document:
    """The records, as "name: value" lines; lines that are not JSON become problems.

    Raises:
        DataError: no line is JSON.
    """
    pieces: list[tuple[str, int | None]] = []
    problems = []
    for number, line in enumerate(decode(data).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            text = describe(json.loads(line))
        except (ValueError, RecursionError) as error:
            problems.append(Failure(f"line {number}", f"not JSON ({fault(error)})"))
            continue
        if text:
            pieces.append((text, None))
    if not pieces and problems:
        raise DataError(f"{problems[0].where}: {problems[0].why}")
    return joined(pieces, problems=tuple(problems))
