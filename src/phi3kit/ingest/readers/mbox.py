"""Mailboxes: a part per message."""

from __future__ import annotations

import re
from dataclasses import replace

from phi3kit.errors import DataError, first_line
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
        except MemoryError:
            raise
        except Exception as error:
            # Whatever the library raises on headers that no grammar knows, by type if not ours.
            why = (str(error) if isinstance(error, DataError) else
                   f"it cannot be read ({type(error).__name__}: {first_line(error)})")
            problems.append(Failure(f"message {number}", why))
            continue
        messages.append((message, None))
        problems += [replace(found, where=f"message {number}, {found.where}")
                     for found in message.problems]
    if not messages:
        raise DataError(f"{problems[0].where}: {problems[0].why}")
    return stacked(messages, anew=1, problems=tuple(problems))
