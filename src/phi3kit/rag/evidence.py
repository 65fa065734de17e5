"""Which passage holds what a sentence says, judged by its words and numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from phi3kit.rag.spelling import spelt
from phi3kit.records import Passage

SHARE = 0.6
"""Share of a sentence's telling words that a passage must hold to be cited for it.

Telling are the words that are neither function words nor already in the question: an answer
that wraps a wrong value into the question's own words is held by no passage.
"""

# Words with the marks that hold part numbers, values and contractions together: P-200, 3.5,
# 1/2, don't.
_WORD = re.compile(r"\w+(?:[-./'’]\w+)*", re.UNICODE)
_ENGLISH = """
a about after all also an and any are as at be because been before being but by can could did
do does for from had has have he her here his how i if in into is it its itself just may me
might more most must my no nor not of on only or other our out over own she should so some
such than that the their them then there these they this those to under until up us was we
were what when where which while who whom whose why will with would yes you your
answer based according passage passages question
"""
FUNCTION_WORDS = frozenset(_ENGLISH.split())
"""Words that carry no meaning of their own, and those by which answers speak of passages."""


def best_passage(sentence: str, passages: Sequence[Passage], question: str) -> int | None:
    """The number (from 1) of the passage that holds `sentence`; None when none does.

    A passage holds a sentence when it has every number in it and at least `SHARE` of its
    telling words. The largest share wins, then the best retrieval score.
    """
    words = _content(sentence)
    telling = words - _content(question) or words
    if not telling:
        return None
    numbers = {word for word in words if any(c.isdigit() for c in word)}
    best: tuple[float, float, int] | None = None
    for number, passage in enumerate(passages, start=1):
        there = _content(f"{passage.heading}\n{passage.text}")
        share = len(telling & there) / len(telling)
        rank = (share, passage.score or 0.0, -number)
        if share >= SHARE and numbers <= there and (best is None or rank > best):
            best = rank
    return None if best is None else -best[2]


def is_told(text: str, passages: Sequence[Passage], question: str) -> bool:
    """Whether one passage has `SHARE` of the telling words of a whole answer, numbers aside.

    So it is where there are none to look for: yes, no, both, a number alone. Numbers are written
    in many ways; `claims.unsupported` knows them.
    """
    words = _content(text)
    telling = {word for word in words - _content(question) or words
               if not any(c.isdigit() for c in word)}
    return not telling or any(
        len(telling & _content(f"{passage.heading}\n{passage.text}")) >= SHARE * len(telling)
        for passage in passages)


@lru_cache(maxsize=256)
def _content(text: str) -> frozenset[str]:
    """The words of `text` that carry meaning, folded; a plural counts as its singular."""
    words = set()
    for match in _WORD.finditer(spelt(text).replace("’", "'").casefold()):
        word = match.group()
        if word not in FUNCTION_WORDS:
            words.add(word[:-1] if len(word) > 3 and word.endswith("s")
                      and not word.endswith("ss") else word)
    return frozenset(words)
