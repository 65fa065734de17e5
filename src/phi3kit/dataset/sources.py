"""Whether two names mean one document."""

from __future__ import annotations

from phi3kit.files import composed


def same_source(source: str, source_id: str) -> bool:
    """Whether one path ends in the other at a component's boundary ("a.md" and "docs/a.md")."""
    one = composed(source).replace("\\", "/").split("/")
    other = composed(source_id).replace("\\", "/").removeprefix("./").split("/")
    shorter = min(len(one), len(other))
    return one[-shorter:] == other[-shorter:]
