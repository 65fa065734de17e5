"""Examples for the prompt of the few-shot arm: the training examples nearest to each question.

Nearest and not a fixed handful: which examples stand in a prompt moves its answers by tens of
points, and those like the question serve best (Liu et al. 2021, "What Makes Good In-Context
Examples for GPT-3?", arXiv:2101.06804). A base that loses to tuning with the best examples
in its prompt does not lose for want of them. The same examples are what tuning is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from phi3kit.compare.similarity import open_embedder
from phi3kit.dataset.examples import Example, read_examples
from phi3kit.dataset.heldout import held_out, without_held_out
from phi3kit.errors import DataError
from phi3kit.rag.prompt import question_in
from phi3kit.records import Message

if TYPE_CHECKING:
    from phi3kit.ingest.embed import Embedder
    from phi3kit.settings import Settings


class Shots:
    """Training examples, to be put before questions.

    Args:
        examples: those with one question each, and without passages, are used.
        count: examples for each question, at most.
    """

    def __init__(self, examples: Sequence[Example], embedder: Embedder, count: int) -> None:
        self._examples = [example for example in examples if _usable(example)]
        self._embedder = embedder
        self._count = count

    def histories(self, questions: Sequence[str]) -> list[list[Message]]:
        """For each question the turns of its nearest examples by cosine, the nearest last.

        What the model's context has no room for is left out from the start, so the nearest
        stay. Of equally near ones the earlier in the file is the nearer.
        """
        import numpy as np

        if not questions:
            return []
        asked = self._embedder.encode(list(questions))
        known = self._embedder.encode([example.question or "" for example in self._examples])
        near = np.argsort(-(asked @ known.T), axis=1, kind="stable")[:, :self._count]
        return [[turn for at in reversed(row) for turn in _turns(self._examples[at])]
                for row in near.tolist()]


def _usable(example: Example) -> bool:
    return bool(example.question) and question_in(example.question or "") is None


def _turns(example: Example) -> list[Message]:
    return [{"role": "user", "content": example.question or ""}, example.messages[-1]]


def open_shots(settings: Settings) -> Shots:
    """The examples of `finetune.dataset` that ask no held-out question.

    Raises:
        DataError: it cannot be read, or no example has a single question.
        ModelError: the embedder cannot be loaded.
    """
    path = Path(settings.finetune.dataset or "")
    questions = Path(settings.compare.questions) if settings.compare.questions else None
    kept, _ = without_held_out(read_examples(path).examples, held_out(questions),
                               where=str(path))
    if not any(map(_usable, kept)):
        raise DataError("no example with one question and without passages for the prompt",
                        where=str(path), mend="Leave out the arm few-shot")
    return Shots(kept, open_embedder(settings), settings.compare.shots)
