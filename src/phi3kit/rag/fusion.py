"""Several rankings of the same things become one."""

from __future__ import annotations

from collections.abc import Sequence

# Cormack, Clarke & Büttcher (SIGIR 2009) found 60 on TREC data; it is the usual value.
_K = 60


def reciprocal_rank_fusion(rankings: Sequence[Sequence[str]]) -> list[str]:
    """Order by the sum of 1 / (60 + rank) over the rankings, ranks from 1.

    What stands in no ranking adds nothing. Equal sums keep the order of the first ranking
    that holds them.
    """
    sums: dict[str, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            sums[item] = sums.get(item, 0.0) + 1.0 / (_K + rank)
    return sorted(sums, key=lambda item: -sums[item])


def head_first(rankings: Sequence[Sequence[str]], head: int) -> list[str]:
    """The first `head` of every ranking, fused, then what is left, fused likewise.

    So the order of the first ones does not depend on how deep the rankings go.
    """
    first = reciprocal_rank_fusion([ranking[:head] for ranking in rankings])
    return list(dict.fromkeys([*first, *reciprocal_rank_fusion(rankings)]))
