"""Values that several commands let one choose from, and what they say of shared options."""

from __future__ import annotations

from enum import StrEnum

FILTER = ("Only passages that pass: source=handbook/*.md, type=pdf, heading=safety, page=3-8. "
          "May be given more than once.")
STORE = "Folder of the Chroma store, or http(s)://host:port of a Chroma server."
RERANK = "Cross-encoder (folder or hub id) that orders the first passages anew."


def as_text(argument: str) -> str:
    """A question from the command line, with "?" for bytes that are none of its encoding's."""
    return argument.encode("utf-8", "replace").decode("utf-8")


class Retrieval(StrEnum):
    """Ways of retrieving."""

    DENSE = "dense"
    LEXICAL = "lexical"
    HYBRID = "hybrid"


class Unsupported(StrEnum):
    """What becomes of an answer that no passage holds."""

    SHOW = "show"
    ABSTAIN = "abstain"
