"""Values that several commands let one choose from."""

from __future__ import annotations

from enum import StrEnum


class Retrieval(StrEnum):
    """Ways of retrieving."""

    DENSE = "dense"
    LEXICAL = "lexical"
    HYBRID = "hybrid"
