"""From examples to the prompts that `ask` would show: what is trained is what is served."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from phi3kit.dataset.examples import Example
from phi3kit.progress import Advance
from phi3kit.rag import prompt
from phi3kit.records import Message, Passage

if TYPE_CHECKING:
    from phi3kit.settings import AskSettings

_QUERIES = 64  # questions that are embedded at once


class Retrieves(Protocol):
    """What looks passages up: a `Retriever`, in this process or apart from it."""

    def retrieve(self, questions: Sequence[str], k: int, min_similarity: float, /,
                 ) -> list[tuple[Passage, ...]]:
        """See `Retriever.retrieve`."""


def chats(examples: Sequence[Example], ask: AskSettings, *, seed: int, share: float = 0.0,
          retriever: Retrieves | None = None, advance: Advance | None = None,
          ) -> list[list[Message]]:
    """The messages that each example is trained on, in order.

    A single question is put exactly as `ask` puts it, by the same builder, with the example's
    own system message or else the instruction of `ask`. For `share` of the single questions
    the prompt carries the passages that `ask` would find; where it finds none, `ask` does not
    call the model, and the example is trained closed book.

    Args:
        share: 0 to 1, of the examples with one question.
        retriever: needed for a share above 0.
        advance: told of each question that was looked up.
    """
    chosen = with_passages(examples, share, seed=seed)
    found: dict[int, tuple[Passage, ...]] = {}
    if chosen and retriever is not None:
        for begin in range(0, len(chosen), _QUERIES):
            part = chosen[begin:begin + _QUERIES]
            passages = retriever.retrieve([examples[i].question or "" for i in part],
                                          ask.passages, ask.min_similarity)
            found.update(zip(part, passages, strict=True))
            if advance is not None:
                advance(len(part))
    return [_chat(example, found.get(index) or None, ask.instruction)
            for index, example in enumerate(examples)]


def with_passages(examples: Sequence[Example], share: float, *, seed: int) -> list[int]:
    """Which examples get passages: `share` of those with one question, evenly over kinds.

    An example that carries passages already gets no others.

    Returns:
        Ascending indices; the same for the same examples, share and seed.
    """
    by_kind: defaultdict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        if example.question is not None and not example.has_passages:
            by_kind[example.kind].append(index)
    order: list[int] = []
    for kind in sorted(by_kind):
        group = by_kind[kind]
        random.Random(f"{seed}:{kind}").shuffle(group)
        order.extend(group)
    # Every 1/share-th of the line of kinds: each kind gives its share, rounded.
    return sorted(index for place, index in enumerate(order)
                  if int((place + 1) * share + 1e-9) > int(place * share + 1e-9))


def _chat(example: Example, passages: Sequence[Passage] | None,
          instruction: str) -> list[Message]:
    question = example.question
    system = instruction if example.system is None else example.system
    if question is None:
        turns = [m for m in example.messages if m["role"] != "system"]
        return [{"role": "system", "content": system}, *turns]
    return [*prompt.build(question, passages, instruction=system), example.messages[-1]]
