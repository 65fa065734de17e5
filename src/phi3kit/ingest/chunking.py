"""Chunks that follow the text's structure, measured in the embedder's own tokens."""

from __future__ import annotations

import functools
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi3kit.errors import SettingsError
from phi3kit.ingest.document import Document, Heading
from phi3kit.ingest.tables import Tables
from phi3kit.ingest.tokens import Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Part of a collection's identity: raise it when the same document gives other chunks, or the
# same chunk another text to embed.
VERSION = 5


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of a document.

    Attributes:
        text: `document.text[start:end]`, exactly.
        heading: the headings that all of the chunk stands under, joined with " > "; below a
            table's first rows, the names of its columns are the last of them.
        embedded: what the embedder is given: heading and text, within its window.
        tokens: length of `embedded` in the embedder's tokens, special ones included.
    """

    text: str
    start: int
    end: int
    page: int | None
    heading: str
    embedded: str
    tokens: int


class Chunker:
    """Cuts documents for one embedder.

    Args:
        tokenizer: the embedder's own, without truncation and padding.
        window: the embedder's longest input in tokens, special ones included.
        chunk_tokens: longest chunk in tokens; its heading comes on top, as far as the window
            has room.

    Raises:
        SettingsError: `chunk_tokens` does not fit into the window.
    """

    def __init__(self, tokenizer: Tokenizer, window: int, chunk_tokens: int) -> None:
        room = window - tokenizer.num_special_tokens_to_add(is_pair=False)
        if chunk_tokens > room:
            raise SettingsError(
                f"chunks of {chunk_tokens} tokens do not fit into the embedder's window of {room}",
                where="ingest.chunk_tokens", mend=f"Set it to {room} or less")
        self._tokens = Tokens(tokenizer)
        self._window = window
        self._chunk_tokens = chunk_tokens

    def chunk(self, document: Document, title: str) -> list[Chunk]:
        """The document's chunks, in order.

        Args:
            title: embedded with chunks that stand under no heading, e.g. the file's name: a
                row of a table does not say what it is a row of.
        """
        outline = _Outline(document)
        spans = list(self._spans(document))
        paths = [outline.path(start, end) for start, end, _ in spans]
        kept = [((start, end, page), path)
                for (start, end, page), path, following
                in zip(spans, paths, [*paths[1:], ()], strict=False)
                if not outline.repeats(start, end, following)]
        # Headings without words, such as a picture alone: without a chunk it would be new each run.
        kept = kept or list(zip(spans, paths, strict=True))
        texts = [document.text[start:end] for (start, end, _), _ in kept]
        tables = Tables(document.text if document.markdown else "")
        names = [tables.names_at(start) for (start, _, _), _ in kept]
        embedded, tokens = self._within_window(
            texts, [(*(path or (title,)), *columns)
                    for (_, path), columns in zip(kept, names, strict=True)])
        return [Chunk(text, start, end, page, " > ".join((*path, *columns)), whole, count)
                for text, ((start, end, page), path), columns, whole, count
                in zip(texts, kept, names, embedded, tokens, strict=True)]

    @functools.cached_property
    def _markdown(self) -> Any:
        from semantic_text_splitter import MarkdownSplitter

        return MarkdownSplitter.from_callback(self._tokens.count, self._chunk_tokens)

    @functools.cached_property
    def _plain(self) -> Any:
        from semantic_text_splitter import TextSplitter

        return TextSplitter.from_callback(self._tokens.count, self._chunk_tokens)

    def _spans(self, document: Document) -> Iterator[tuple[int, int, int | None]]:
        """(start, end, page), never across two parts."""
        splitter = self._markdown if document.markdown else self._plain
        for part in document.parts:
            for at, text in splitter.chunk_indices(document.text[part.start:part.end]):
                if text.strip():
                    yield part.start + at, part.start + at + len(text), part.page

    def _within_window(self, texts: list[str],
                       paths: list[tuple[str, ...]]) -> tuple[list[str], list[int]]:
        """What to embed and its tokens: outer headings are left out first when it is too long."""
        embedded = [f"{' > '.join(path)}\n{text}" for text, path in zip(texts, paths, strict=True)]
        tokens = [len(ids) for ids in self._tokens.encode(embedded)]
        for at, path in enumerate(paths):
            left = path
            while tokens[at] > self._window:
                left = left[1:]
                embedded[at] = f"{' > '.join(left)}\n{texts[at]}" if left else texts[at]
                tokens[at] = len(next(self._tokens.encode([embedded[at]])))
                if not left:
                    break
        return embedded, tokens


class _Outline:
    """The headings of a document, to be asked about spans of its text."""

    def __init__(self, document: Document) -> None:
        self._text = document.text
        self._headings = document.headings
        self._starts = [heading.start for heading in document.headings]
        self._stacks: list[tuple[Heading, ...]] = []  # each heading with those above it
        stack: tuple[Heading, ...] = ()
        for heading in document.headings:
            stack = (*(above for above in stack if above.level < heading.level), heading)
            self._stacks.append(stack)

    def path(self, start: int, end: int) -> tuple[str, ...]:
        """Titles of the headings that everything from `start` to `end` stands under."""
        first, last = bisect_right(self._starts, start), bisect_left(self._starts, end)
        common = self._stacks[first - 1] if first else ()
        for stack in self._stacks[first:last]:
            # Titles may repeat, so headings are compared, not words.
            agree = itertools.takewhile(lambda pair: pair[0] is pair[1],
                                        zip(common, stack, strict=False))
            common = tuple(one for one, _ in agree)
        return tuple(heading.title for heading in common if heading.title)

    def repeats(self, start: int, end: int, following: tuple[str, ...]) -> bool:
        """Whether a span is headings alone, and `following`, the next path, begins with them.

        Such a chunk answers nothing, and being so short it would be found before those that
        do.
        """
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        at = start
        for heading in self._headings[first:last]:
            if self._text[at:heading.start].strip():
                return False
            at = heading.end
        if first == last or self._text[at:end].strip():
            return False
        own = tuple(heading.title for heading in self._stacks[last - 1] if heading.title)
        return following[:len(own)] == own
