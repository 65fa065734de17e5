"""Figures and names in words, for rooms that tell the same ones."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str) -> str:
    r"""What cannot be printed stands as its escape, such as \x1b: names and documents are data."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def in_seconds(value: float) -> str:
    """A time with two significant digits, and whole from ten on: "0.24 s", "12 s", "1,234 s"."""
    if 0 < value < 0.0001:
        return "under 0.0001 s"
    return f"{value:,.0f} s" if value >= 10 else f"{value:.2g} s"
