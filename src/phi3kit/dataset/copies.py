"""Examples that repeat each other, and examples that contradict each other."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from phi3kit.dataset.normal import normal
from phi3kit.dataset.pairs import Pair
from phi3kit.dataset.similar import ALIKE, Near, jaccard, runs

_RUN = 3  # words
_LONG = 20  # words; two longer answers may say the same differently
_VARIANTS = 50  # answers; lest a file with one request for all examples take for ever
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def near_copies(pairs: Sequence[Pair]) -> list[int | None]:
    """Which pair before it each pair nearly repeats; None where it repeats none.

    Request and answer are at least 0.8 alike each: the Jaccard similarity of their sets of
    words, and of runs of three words. Candidates come from MinHash with locality-sensitive
    hashing and are then compared themselves.
    """
    shingles = [runs(normal(pair.request).split(), _RUN) for pair in pairs]
    index = Near(shingles)
    found: list[int | None] = []
    for at in range(len(pairs)):
        alike = next((other for other in index.candidates(at)
                      if jaccard(shingles[at], shingles[other]) >= ALIKE
                      and _same(pairs[at].answer, pairs[other].answer)), None)
        found.append(alike)
        # Only those that repeat nothing are kept: a template's thousand copies would
        # otherwise be compared with each other.
        if alike is None:
            index.insert(at)
    return found


def contradictions(pairs: Sequence[Pair]) -> list[int | None]:
    """For each pair, one with the same request and a different answer; None where there is none.

    Requests are the same but for case, blanks and punctuation. Short answers differ when
    less than 0.8 (Jaccard) of their words agree or their numbers differ; of longer ones
    only the numbers are compared, for the same can be said in other words.
    """
    asked: defaultdict[str, list[int]] = defaultdict(list)
    for at, pair in enumerate(pairs):
        asked[normal(pair.request)].append(at)
    other: list[int | None] = [None] * len(pairs)
    for group in asked.values():
        variants = list({normal(pairs[at].answer): at for at in group}.values())[:_VARIANTS]
        for at in group:
            other[at] = next((variant for variant in variants
                              if _differ(pairs[at].answer, pairs[variant].answer)), None)
    return other


def _differ(one: str, other: str) -> bool:
    if set(_NUMBER.findall(one)) != set(_NUMBER.findall(other)):
        return True
    first, second = set(normal(one).split()), set(normal(other).split())
    if max(len(first), len(second)) > _LONG:
        return False
    return jaccard(first, second) < ALIKE


def _same(one: str, other: str) -> bool:
    return (set(_NUMBER.findall(one)) == set(_NUMBER.findall(other))
            and jaccard(set(normal(one).split()), set(normal(other).split())) >= ALIKE)
