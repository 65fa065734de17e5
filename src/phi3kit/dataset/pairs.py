"""A file's examples as requests and answers, each once, in an order of their own."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from phi3kit.dataset.examples import Example, read_examples
from phi3kit.records import Failure


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """What is said to the model (every turn before the last) and what it is to answer."""

    request: str
    answer: str
    source_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """Examples to measure.

    Attributes:
        pairs: the different ones, ordered by text, so that no measure depends on the
            order of the lines.
        examples: those that can be used, copies included, in the file's order.
        failures: what could not be used.
    """

    pairs: tuple[Pair, ...]
    examples: tuple[Example, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def usable(self) -> int:
        """How many examples can be used, copies included."""
        return len(self.examples)


def read_dataset(path: Path) -> Dataset:
    """Read `path` as `finetune` does.

    Raises:
        DataError: the file is missing or holds no examples in a known format.
    """
    read = read_examples(path)
    pairs: dict[tuple[str, str], Pair] = {}
    for example in read.examples:
        pair = as_pair(example)
        key = same_key(pair)
        # Of copies that differ in their sources or blanks, the same one whatever the order.
        pairs[key] = min(pairs.get(key, pair), pair, key=lambda p: (-len(p.source_ids), p))
    return Dataset(tuple(sorted(pairs.values())), read.examples, read.failures)


def as_pair(example: Example) -> Pair:
    """An example as request and answer."""
    request = "\n".join(turn["content"] for turn in example.messages[:-1])
    return Pair(request, example.messages[-1]["content"].strip(), example.source_ids)


def same_key(pair: Pair) -> tuple[str, str]:
    """Equal for exact copies: the same texts but for blanks."""
    return _blanks(pair.request), _blanks(pair.answer)


def _blanks(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
