"""Token IDs of texts, from those of their words where that comes to the same.

A text is tokenised several times on its way: to be cut, to be measured, to be embedded. Its words
occur again and again, so their tokens are kept, and a text is looked up rather than tokenised.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Words whose tokens are kept: 10 MB of them. Those of more characters are rare, or are whole
# sentences of a language that has no spaces.
_WORDS = 50_000
_CHARACTERS = 40
# What BERT's tokenizers split at before they look at anything else. Of the other characters that
# Python calls space they drop some, which joins the words around.
_WORD = re.compile(r"[^ \t\n\r]+")
# Texts that are tokenised at once: an encoding takes some fifty times its text's memory.
_AT_ONCE = 256


class Tokens:
    """What a tokenizer makes of texts. Threads may share it.

    Args:
        tokenizer: not to be changed meanwhile; where it truncates, so does this.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._held: dict[str, tuple[int, ...]] = {}
        around = _special_ids(tokenizer) if _is_of_words(tokenizer) else None
        self._by_words = around is not None
        self._before, self._after = around or ([], [])
        longest = tokenizer.truncation
        self._room = None if longest is None else max(
            0, int(longest["max_length"]) - len(self._before) - len(self._after))

    def count(self, text: str) -> int:
        """Number of tokens, without special ones and before any truncation."""
        if not self._by_words:
            return len(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return sum(map(len, self._of_words(text)))

    def encode(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Token IDs of each text, special ones included, one text after another."""
        if self._by_words:
            for text in texts:
                own = itertools.chain.from_iterable(self._of_words(text))
                yield [*self._before, *itertools.islice(own, self._room), *self._after]
            return
        for at in range(0, len(texts), _AT_ONCE):
            for encoding in self._tokenizer.encode_batch_fast(list(texts[at:at + _AT_ONCE])):
                yield encoding.ids

    def _of_words(self, text: str) -> list[tuple[int, ...]]:
        """Token IDs of each of the text's words."""
        words: list[str] = _WORD.findall(text)
        held = self._held
        try:
            return [held[word] for word in words]
        except KeyError:
            pass
        missing = list(dict.fromkeys(word for word in words if word not in held))
        found = {word: tuple(encoding.ids) for word, encoding in zip(
            missing, self._tokenizer.encode_batch_fast(missing, add_special_tokens=False),
            strict=True)}
        ids = [known if (known := held.get(word)) is not None else found[word] for word in words]
        if len(held) + len(found) > _WORDS:
            held = self._held = {}
        held.update((word, known) for word, known in found.items() if len(word) <= _CHARACTERS)
        return ids


def _is_of_words(tokenizer: Tokenizer) -> bool:
    """Whether no token, and nothing that decides about one, reaches across a space."""
    from tokenizers import models, normalizers, pre_tokenizers

    return (isinstance(tokenizer.model, models.WordPiece)
            and isinstance(tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer)
            and isinstance(tokenizer.normalizer, normalizers.BertNormalizer | None)
            and not any(_WORD.fullmatch(added.content) is None
                        for added in tokenizer.get_added_tokens_decoder().values()))


def _special_ids(tokenizer: Tokenizer) -> tuple[list[int], list[int]] | None:
    """IDs that stand in front of a text's own, and behind; None if they are somewhere else."""
    (own, whole), (other, theirs) = (
        (tokenizer.encode(text, add_special_tokens=False).ids, tokenizer.encode(text).ids)
        for text in ("a", "b c"))
    for at in range(len(whole) - len(own) + 1):
        before, after = whole[:at], whole[at + len(own):]
        if before + own + after == whole and before + other + after == theirs:
            return before, after
    return None
