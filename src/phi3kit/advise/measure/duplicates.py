"""Passages that nearly repeat another one: what a search confuses."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import islice

from phi3kit.advise.measure.corpus import Corpus
from phi3kit.advise.measure.findings import Findings, found, nothing
from phi3kit.dataset.similar import ALIKE, Near, runs

SHINGLE = 3  # words
HARD = 0.3  # of the passages
_LEAST = 20  # passages; among fewer, any search finds the right one
_LOOKED_AT = 20  # neighbours of a passage; a template's passages are all alike
_MOST = 50_000  # passages; more are sampled, for the index lies in memory
_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")


def searchable(corpus: Corpus) -> Findings:
    """`documents_searchable`: "hard" when 30% of the passages or more nearly repeat another.

    Seen: the sample documents and abstracts of PubMed none, manual pages 1%, descriptions
    of genetic conditions 4%, Git's documentation 8%, cancer information for patients and
    for physicians 9%, Node's API as HTML, JSON and Markdown 12%, Rust's collections 18%;
    sheets filled in from one template about 100%. Few such passages are no evidence that
    searching is easy, so they give no answer.
    """
    passages = corpus.passages
    if len(passages) < _LEAST:
        return nothing("documents_searchable",
                       f"{len(passages)} passages are too few to be confused")
    sampled = ""
    if len(passages) > _MOST:
        passages = tuple(sorted(passages, key=lambda passage: hashlib.sha256(
            passage[1].encode("utf-8", "replace")).digest())[:_MOST])
        sampled = "sampled "
    repeated = sum(confusable(passages))
    share = repeated / len(passages)
    figures = (f"{repeated:,} of {len(passages):,} {sampled}passages ({share:.0%}) "
               f"nearly repeat one of another document, with other details (MinHash, Jaccard "
               f"similarity {ALIKE} or more)")
    if share >= HARD:
        return found("documents_searchable", "hard",
                     f"{figures}; {HARD:.0%} make searching hard")
    return nothing("documents_searchable",
                   f"{figures}; that makes nothing hard, and only questions can tell whether "
                   "searching is easy")


def confusable(passages: Sequence[tuple[int, str]]) -> list[bool]:
    """Whether each passage nearly repeats one of another document, in other words.

    A passage is its set of overlapping runs of three words, numbers masked, since in forms
    and sheets it is the numbers that differ. Pairs with an estimated Jaccard similarity of
    at least `ALIKE` are alike (MinHash as in Broder, "On the resemblance and containment of
    documents", 1997, with locality-sensitive hashing). Copies, even if cut at other places,
    are not counted: either copy is the right answer.

    Args:
        passages: (document, text).
    """
    index = Near((_shingles(text) for _, text in passages), threshold=ALIKE)
    for number in range(len(passages)):
        index.insert(number)

    def neighbours(number: int) -> Iterator[str]:
        for other in index.candidates(number):
            if (passages[other][0] != passages[number][0]
                    and index.estimate(number, other) >= ALIKE):
                yield passages[other][1]

    return [any(not _copies(text, other) for other in islice(neighbours(number), _LOOKED_AT))
            for number, (_, text) in enumerate(passages)]


def _shingles(text: str) -> set[str]:
    words = _WORD.findall(_DIGIT.sub("0", text.casefold()))
    return runs(words, SHINGLE) if len(words) >= SHINGLE else set()


def _copies(one: str, other: str) -> bool:
    """Whether two texts have the same words as far as they overlap."""
    first, second = _WORD.findall(one.casefold()), _WORD.findall(other.casefold())
    return _continues(first, second) or _continues(second, first)


def _continues(one: list[str], other: list[str]) -> bool:
    """Whether `one` stands in `other` from some word on, as far as both reach.

    They have to share half of the shorter one, or its first word alone would do.
    """
    least = min(len(one), len(other)) // 2
    return any(other[start:start + len(one)] == one[:len(other) - start]
               for start in range(len(other) - least) if other[start] == one[0])
