"""Mailboxes: a part per message."""

from __future__ import annotations

import re
from dataclasses import replace

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document, stacked
from phi3kit.ingest.readers import mail
from phi3kit.records import Failure

# A message begins with "From " after an empty line; in a body that is ">From ", and what was
# ">From " there is ">>From ".
_BEGINS = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\r\n\r\n))From [^\n]*\n")
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)


def read(data: bytes) -> Document:
    """The messages; those that cannot be read become problems.

    Raises:
        DataError: no mailbox, or no message that can be read.
    """
    begins = list(_BEGINS.finditer(data))
    if not begins or begins[0].start():
        raise DataError("no mailbox: it does not begin with 'From '")
    ends = [*(match.start() for match in begins[1:]), len(data)]
    messages: list[tuple[Document, int | None]] = []
    problems = []
    for number, (match, end) in enumerate(zip(begins, ends, strict=True), start=1):
        try:
            message = mail.read(_QUOTED.sub(rb"\1", data[match.end():end]))
        except (DataError, RecursionError) as error:
            problems.append(Failure(f"message {number}", str(error)))
            continue
        messages.append((message, None))
        problems += [replace(found, where=f"message {number}, {found.where}")
                     for found in message.problems]
    if not messages:
        raise DataError(f"{problems[0].where}: {problems[0].why}")
    return stacked(messages, problems=tuple(problems))
