"""Training examples, measured."""

from __future__ import annotations

from dataclasses import dataclass

from phi3kit.records.common import Failure


@dataclass(frozen=True, slots=True)
class DatasetSize:
    """How large a training dataset is.

    Attributes:
        source: the file; "" when the user gave the numbers.
        tokens: of one pass over the examples, prompts and answers.
        longest: tokens of the longest example.
        how: how the tokens were counted, in a sentence.
        skipped: examples that cannot be used.
    """

    source: str
    examples: int
    tokens: int
    longest: int
    how: str
    skipped: tuple[Failure, ...] = ()
