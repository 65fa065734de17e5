"""Figures in words, for rooms that tell the same ones."""

from __future__ import annotations


def in_seconds(value: float) -> str:
    """A time with two significant digits, and whole from ten on: "0.24 s", "12 s", "1,234 s"."""
    if 0 < value < 0.0001:
        return "under 0.0001 s"
    return f"{value:,.0f} s" if value >= 10 else f"{value:.2g} s"
