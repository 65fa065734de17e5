"""The rankings of a question by meaning and by words, joined with as little reading as it takes.

Both searches give IDs. To read passages costs Chroma more than to find them, and of those that
are found most are not among the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from phi3kit.rag.fusion import head_first
from phi3kit.records import Passage

if TYPE_CHECKING:
    import numpy as np

Held = Mapping[str, "tuple[Passage, np.ndarray]"]

# Passages of each ranking that are fused first; what stands lower follows them. On the sample's
# questions 50 lose against 10 (nDCG@10 0.81 against 0.84): what stands low in both would pass
# what leads one of them.
FUSED = 10


def first(near: Mapping[str, float], words: Sequence[str], k: int, held: Held,
          gone: AbstractSet[str], *, fuse: bool) -> tuple[list[str], set[str]]:
    """IDs of the first `k` passages, and of those that have to be read before it is certain.

    Args:
        near: cosine similarity by ID; equal ones are ordered by source and position.
        words: IDs of passages that share words with the question, best first.
        k: passages of equal text count once.
        held: the passages that are read so far, by ID, each with its vector.
        gone: IDs that the collection turned out not to hold any more; they count as not found.
        fuse: order by both rankings; else by the words alone.

    Returns:
        The first ones are final when nothing has to be read.
    """
    shared = [id_ for id_ in words if id_ not in gone]
    order, needed = shared, set[str]()
    if fuse:
        close = {id_: score for id_, score in near.items() if id_ not in gone}
        order = head_first([_nearest(close, held), shared], FUSED)
        needed = _alike(close) | _above_both(shared, close)
    chosen = _once(order, k, held)
    return chosen, needed.union(chosen).difference(held)


def wording(passage: Passage) -> str:
    """The text whatever its white space: of passages that have it in common one is found."""
    return " ".join(passage.text.split())


def _nearest(near: Mapping[str, float], held: Held) -> list[str]:
    def rank(id_: str) -> tuple[float, str, int]:
        if id_ not in held:
            return -near[id_], "", 0
        passage, _ = held[id_]
        return -near[id_], passage.source, passage.start

    return sorted(near, key=rank)


def _alike(near: Mapping[str, float]) -> set[str]:
    """Whose similarity another one has too, so that their places order them."""
    times = Counter(near.values())
    return {id_ for id_, score in near.items() if times[score] > 1}


def _above_both(shared: Sequence[str], near: Mapping[str, float]) -> set[str]:
    """What only words found and stands above a passage that both rankings hold.

    Were it gone, that passage's rank would be another, and so might its place among all. Below
    the last of these there is nothing to be read for: whatever moves up into the rank of one
    that is gone gets where that one stood, which was not among the first.
    """
    last = max((at for at, id_ in enumerate(shared) if id_ in near), default=0)
    return {id_ for id_ in shared[:last] if id_ not in near}


def _once(order: Sequence[str], k: int, held: Held) -> list[str]:
    """The first `k`, of equal texts the first one only; unread ones count as different."""
    once: dict[str | tuple[str], str] = {}
    for id_ in order:
        if len(once) == k:
            break
        once.setdefault(wording(held[id_][0]) if id_ in held else (id_,), id_)
    return list(once.values())
