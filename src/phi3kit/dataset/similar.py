"""Which texts are nearly the same: sets of word runs, MinHash, locality-sensitive hashing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import Any

ALIKE = 0.8
"""Jaccard similarity from which on two sets of runs count as nearly the same."""

# Estimates miss some pairs; those whose sets are compared afterwards are looked for lower.
CANDIDATE = 0.7
_PERMUTATIONS = 128
_SEED = 1


def runs(words: Sequence[str], length: int) -> set[str]:
    """The overlapping runs of `length` words; a shorter text is one run, an empty one none."""
    last = max(1, len(words) - length + 1)
    return {" ".join(words[at:at + length]) for at in range(last)} if words else set()


def jaccard(one: Set[str], other: Set[str]) -> float:
    """Shared over all members; 1 when both are empty."""
    return len(one & other) / len(one | other) if one or other else 1.0


class Near:
    """Numbered sets, hashed so that alike ones are found without comparing all with all.

    MinHash as in Broder, "On the resemblance and containment of documents", 1997, with
    locality-sensitive hashing (datasketch). A set is found once it is inserted; an empty one
    never, for empty ones would all be alike.

    Args:
        sets: of runs; read once and not kept.
        threshold: estimated Jaccard similarity from which on sets are found.
    """

    def __init__(self, sets: Iterable[Iterable[str]], threshold: float = CANDIDATE) -> None:
        from datasketch import MinHash, MinHashLSH

        encoded = ([run.encode("utf-8", "surrogatepass") for run in sorted(runs)]
                   for runs in sets)
        self._hashes: list[Any] = MinHash.bulk(encoded, num_perm=_PERMUTATIONS, seed=_SEED)
        self._index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)

    def insert(self, at: int) -> None:
        """Let the set with this number be found."""
        if not self._hashes[at].is_empty():
            self._index.insert(at, self._hashes[at])

    def candidates(self, at: int) -> list[int]:
        """Numbers of inserted sets that are likely alike, ascending; itself if inserted."""
        if self._hashes[at].is_empty():
            return []
        return sorted(self._index.query(self._hashes[at]))

    def estimate(self, one: int, other: int) -> float:
        """The estimated Jaccard similarity of two sets."""
        return float(self._hashes[one].jaccard(self._hashes[other]))
