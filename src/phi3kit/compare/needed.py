"""How many questions, documents or training seeds would show a difference that was seen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from phi3kit.advise.sample_size import POWER, questions_for
from phi3kit.compare.seeds import Part, quantile, variance
from phi3kit.records import Difference, Interval, Spread

# Beyond so many times the present questions, more of them is no advice.
HOPELESS = 50
# What a product of floats may be above the whole number that it is.
_ROUNDING = 1e-9
# Documents are counted up in steps of a twentieth, where each step has to be reckoned.
_COARSE = 20


def questions_needed(item: Difference, *, questions: int, clusters: int, pairs: int,
                     confidence: float, effective: float | None = None) -> int | None:
    """About how many questions would show a difference as large as the one seen.

    The clustered standard error is taken to shrink with the square root of the number of
    questions, new documents coming with them, which share the questions as unevenly as now.
    `questions_for` gives the number for many documents; documents are added to it until Student's
    t, with as many degrees of freedom as they would be worth less one, agrees (Bloom 1995,
    Minimum Detectable Effects, Evaluation Review 19:547). In simulation the normal quantiles alone
    reach 50 to 70% power instead of 80% where 6 to 30 documents come out.

    Returns:
        The total number of questions; None when it is beyond HOPELESS times the present ones, or
        the training seeds alone leave more doubt than such a difference bears.
    """
    if clusters < 2 or item.difference.mean == 0:
        return None
    if item.spread is not None:
        return _needed_with_seeds(item.difference.mean, item.spread, questions=questions,
                                  clusters=clusters, pairs=pairs, confidence=confidence)
    error = clustered_error(item, clusters=effective or clusters, confidence=confidence)
    needed = questions_for(item.difference.mean, error * math.sqrt(questions),
                           confidence=confidence, pairs=pairs)
    if needed > HOPELESS * questions:
        return None
    each = questions / clusters
    worth = (effective or clusters) / clusters
    documents = max(documents_needed(pairs, confidence), math.floor(needed / each),
                    math.floor(1 / worth) + 1)
    while (documents * each < questions * (error / item.difference.mean) ** 2
           * reach(documents * worth, pairs=pairs, confidence=confidence) ** 2):
        documents += 1
        if documents * each > HOPELESS * questions:
            return None
    return max(questions + 1, math.ceil(documents * each - _ROUNDING))


def all_needed(rivals: Sequence[Difference], *, questions: int, clusters: int,
                effective: float | None, pairs: int, confidence: float) -> int | None:
    """The questions that would tell one arm from all `rivals`; see `questions_needed`."""
    each = [questions_needed(item, questions=questions, clusters=clusters, effective=effective,
                             pairs=pairs, confidence=confidence) for item in rivals]
    return None if None in each else max(n for n in each if n is not None)


def _needed_with_seeds(difference: float, spread: Spread, *, questions: int, clusters: int,
                       pairs: int, confidence: float) -> int | None:
    """As `questions_needed`: more questions make the documents' part smaller, not the seeds'."""
    each = questions / clusters
    documents = max(documents_needed(pairs, confidence), clusters + 1)
    while documents <= HOPELESS * clusters:
        then = dataclasses.replace(
            spread, documents=spread.documents * math.sqrt(clusters / documents))
        if reach_with_seeds(then, documents, pairs=pairs,
                            confidence=confidence) <= abs(difference):
            return max(questions + 1, math.ceil(documents * each - _ROUNDING))
        documents += max(1, documents // _COARSE)
    return None


def reach_with_seeds(spread: Spread, documents: int, *, pairs: int, confidence: float) -> float:
    """The true difference that is found POWER of the time, where training seeds are in doubt too.

    As `reach` times the standard error, with the quantiles of `seeds.quantile`; 0 where nothing
    varies.
    """
    found = [Part(spread.documents ** 2, documents - 1.0),
             Part(spread.seeds ** 2, spread.degrees)]
    if variance(found) == 0:
        return 0.0
    return math.sqrt(variance(found)) * (
        quantile(found, (1 - confidence) / 2 / pairs) + quantile(found, 1 - POWER))


def needs_seeds(item: Difference, *, pairs: int, confidence: float) -> bool:
    """Whether the training seeds alone leave too much doubt for a difference as large as seen.

    However many questions there were, the difference would be found less than POWER of the time.
    """
    if item.spread is None or item.difference.mean == 0:
        return False
    alone = dataclasses.replace(item.spread, documents=0.0)
    return reach_with_seeds(alone, 2, pairs=pairs,
                            confidence=confidence) > abs(item.difference.mean)


def reach(documents: float, *, pairs: int, confidence: float) -> float:
    """How many standard errors a true difference must have to be found POWER of the time.

    Student's t, two-sided, at the strictest level of Holm's procedure over `pairs`.
    """
    from scipy import stats

    level, power = stats.t.isf([(1 - confidence) / 2 / pairs, 1 - POWER], documents - 1)
    return float(level + power)


def clustered_error(item: Difference, *, clusters: float, confidence: float) -> float:
    """The clustered standard error of a difference; read back from its interval where not kept.

    The interval may be far from it: with most questions about one document its ends are those
    of a skewed bootstrap, and Student's t has less than one degree of freedom.
    """
    if item.error is not None:
        return item.error
    return standard_error(item.difference, clusters=clusters, confidence=confidence)


def standard_error(difference: Interval, *, clusters: float, confidence: float) -> float:
    """The clustered standard error that an interval of `intervals.interval` was made with.

    Half the interval is so many standard errors as Student's t has at its level, with the
    degrees of freedom that unequal documents leave: see `statistics.effective_clusters`.

    Args:
        difference: with its interval, of at least two clusters.
        clusters: how many source documents of one size those behind it are worth.
        confidence: 0 to 1, of the interval.
    """
    from scipy import stats

    width = (difference.high - difference.low) / 2
    return float(width / stats.t.isf((1 - confidence) / 2, clusters - 1))


def documents_needed(pairs: int, confidence: float) -> int:
    """The fewest documents with which any difference could pass the test at all.

    With n clusters there are 2^n ways to flip signs, so that no two-sided p-value is below
    2 / 2^n; Holm's strictest step multiplies it by the number of pairs.
    """
    return math.floor(1 + math.log2(pairs / (1 - confidence))) + 1
