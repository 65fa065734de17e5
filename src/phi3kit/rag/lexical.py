"""Passages by the words that they share with a question: BM25 over a collection."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from phi3kit.files import write_json
from phi3kit.progress import bar
from phi3kit.rag.spelling import spelt
from phi3kit.records import Passage

# No stop words and no stemmer: both are a language's own, and on the sample data either
# loses (nDCG@10 0.865 and 0.886 against 0.889). Single characters count: "type B", "step 3".
_TOKEN = r"(?u)\w+"
# Raise it when the same passages give another index.
_VERSION = 4


class LexicalIndex:
    """BM25 (Lucene's variant, k1 1.5, b 0.75; Robertson & Zaragoza 2009, Kamphuis et al. 2020).

    Attributes:
        ids: the passages' IDs in the collection, by the index's own numbers.
    """

    def __init__(self, index: Any, ids: Sequence[str]) -> None:
        self._index = index
        self.ids = tuple(ids)

    def search(self, questions: Sequence[str], depth: int,
               only: Collection[str] | None = None) -> list[list[str]]:
        """IDs of the passages that share words with each question, best first.

        Equal scores are ordered by where the passages stand (source, start).

        Args:
            depth: at most this many each.
            only: IDs of the passages to choose from; None: all.
        """
        if not self.ids:
            return [[] for _ in questions]
        return [self._best(words, depth, only) for words in _tokens(questions, ids=False)]

    def _best(self, words: list[str], depth: int, only: Collection[str] | None) -> list[str]:
        """The scores are bm25s'; its own choice among them is not used.

        That goes over all passages, few of which share a word with the question, and orders
        equal scores as the instruction set of the CPU has it.
        """
        import numpy as np

        if not words:
            return []
        scores = self._index.get_scores(words)
        found = np.flatnonzero(scores > 0)
        if only is not None:
            found = found[[self.ids[at] in only for at in found.tolist()]]
        if len(found) > depth:
            least = np.partition(scores[found], -depth)[-depth]
            found = found[scores[found] >= least]
        best = found[np.argsort(-scores[found], kind="stable")][:depth]
        return [self.ids[at] for at in best.tolist()]

    def save(self, folder: Path, key: str) -> None:
        """Write the index, whole or not at all; another one in `folder` is replaced."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            self._index.save(str(staged), show_progress=False)
            write_json(staged / "passages.json", {"key": key, "ids": list(self.ids)})
            staged.chmod(0o755)  # mkdtemp's are their maker's alone, and stores may be shared
            shutil.rmtree(folder, ignore_errors=True)
            staged.replace(folder)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def build_index(passages: Iterable[Passage]) -> LexicalIndex:
    """Index passages with the headings that they stand under, in the order of their places.

    Those without a word are left out: nothing can find them, and bm25s takes no corpus of them.
    """
    import bm25s

    held = sorted((p for p in passages if re.search(_TOKEN, f"{p.heading} {p.text}")),
                  key=lambda p: (p.source, p.start, p.id))
    index = bm25s.BM25(method="lucene")
    if held:
        with bar("indexing words", len(held)) as advance:
            index.index(_tokens([f"{p.heading}\n{p.text}" for p in held], ids=True),
                        show_progress=False)
            advance(len(held))
    return LexicalIndex(index, [p.id for p in held])


def open_index(folder: Path, fingerprint: str, passages: Iterable[Passage]) -> LexicalIndex:
    """The index in `folder` if it is of this collection, else a new one, kept there.

    Args:
        fingerprint: of the collection, as `Store.fingerprint` gives it.
        passages: read only when the index has to be made.
    """
    key = f"{_VERSION}:{fingerprint}"
    found = _load(folder, key)
    if found is None:
        found = build_index(passages)
        if found.ids:
            _keep(found, folder, key)
    return found


def _keep(index: LexicalIndex, folder: Path, key: str) -> None:
    # A store that may only be read, or another process that is saving the same.
    with contextlib.suppress(OSError):
        index.save(folder, key)


def _load(folder: Path, key: str) -> LexicalIndex | None:
    try:
        told = json.loads((folder / "passages.json").read_text(encoding="utf-8"))
        if told["key"] != key:
            return None
        import bm25s

        index = bm25s.BM25.load(str(folder), mmap=True, show_progress=False)
        return LexicalIndex(index, told["ids"])
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _tokens(texts: Sequence[str], *, ids: bool) -> Any:
    """The words of each text: numbers with their vocabulary (`ids`), or strings."""
    import bm25s

    return bm25s.tokenize([spelt(text) for text in texts], token_pattern=_TOKEN, stopwords=[],
                          show_progress=False, return_ids=ids)
