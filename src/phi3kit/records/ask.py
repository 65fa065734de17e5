"""Answers and their citations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from phi3kit.records.ingest import Passage


@dataclass(frozen=True, slots=True)
class Citation:
    """A numbered reference of an answer to a passage.

    Attributes:
        number: the number in the answer's text; passages are counted from 1.
        passage: what it points at.
        by: "model" when the model wrote it, "match" when we attached it because the
            sentence's words stand in the passage.
    """

    number: int
    passage: Passage
    by: Literal["model", "match"]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Something that an answer says and no cited passage.

    Attributes:
        text: as it stands in the answer.
        kind: "quote", "number" or "name".
        start, end: its characters in the answer's text.
    """

    text: str
    kind: Literal["quote", "number", "name"]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with the passages that were shown to the model.

    Attributes:
        abstained: the answer says that it does not know.
        removed_citations: numbers that the model wrote and that point at no passage.
        seconds: wall time; in a batch, the batch's time shared out by output tokens.
        error: why there is no answer; "" when there is one.
        unsupported: claims that stand in none of the cited passages; where nothing is cited,
            in none of those shown. Empty in closed book, where nothing backs an answer.
        withheld: what the model wrote, where no passage holds it and `ask.unsupported` has the
            answer abstain for that.
    """

    question: str
    text: str
    abstained: bool
    citations: tuple[Citation, ...]
    removed_citations: tuple[int, ...]
    passages: tuple[Passage, ...]
    tokens_in: int
    tokens_out: int
    seconds: float
    error: str = ""
    unsupported: tuple[Unsupported, ...] = ()
    withheld: str = ""
