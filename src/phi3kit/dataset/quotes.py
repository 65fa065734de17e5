"""Where in broken CSV the quote stands that was not closed."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A field in quotes, a quote doubled inside it; what follows the last of them is another field's.
_FIELD = re.compile(r'[^",\n][^,\n]*|"[^"]*(?:""[^"]*)*"?')


def opened_at(lines: Sequence[str]) -> int:
    """Index of the line in which the last quoted field of a record begins; 0 without one.

    Args:
        lines: of a record that ends in the middle of such a field, or right behind it.
    """
    text = "\n".join(lines)
    at = opened = 0
    while at < len(text):
        if text[at] in ", \n":
            at += 1
            continue
        field = _FIELD.match(text, at)
        assert field is not None  # any other character begins one
        at = field.end()
        if text[field.start()] == '"':
            opened = field.start()
            if text[at:at + 1] not in ("", ",", "\n"):
                break  # what stands behind the closing quote is the fault
    return text.count("\n", 0, opened)
