"""From means and differences to one sentence: who wins, or that it is not decidable."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, cast

from phi3kit.advise.sample_size import POWER, questions_for
from phi3kit.compare.enough import enough, simpler, without
from phi3kit.compare.seeds import Part, quantile, variance
from phi3kit.records import ArmSummary, Difference, Interval, Option, Spread, Verdict

Outcome = Literal["confirmed", "refuted", "undecided"]

# Beyond so many times the present questions, more of them is no advice.
HOPELESS = 50
# What a product of floats may be above the whole number that it is.
_ROUNDING = 1e-9
# Documents are counted up in steps of a twentieth, where each step has to be reckoned.
_COARSE = 20


def decide(arms: Sequence[ArmSummary], found: Sequence[Difference], *, metric: str,
           confidence: float, clusters: int, effective: float | None = None,
           prediction: Option | None = None, margin: float = 0.0) -> Verdict:
    """The verdict on a finished comparison.

    An arm wins when it beats every other one at the given confidence, after Holm's adjustment;
    with a margin, the simplest one that is shown to be behind none by so much wins before it.
    The prediction is refuted when some arm beats the predicted one, or is enough without it,
    confirmed when the predicted one wins, undecided otherwise.

    Args:
        arms: two or more that can win.
        found: every pair's difference.
        metric: what decides.
        confidence: 0 to 1, of the intervals in `found`.
        clusters: source documents.
        effective: how many of one size they are worth; None: all have as many questions.
        prediction: what was advised.
        margin: a lead that is not worth another part.
    """
    alpha = 1 - confidence
    ranked = sorted(arms, key=lambda arm: -arm.metrics[metric].mean)
    best = ranked[0].arm
    rivals = [arm.arm for arm in ranked[1:] if not _beats(best, arm.arm, found, alpha)]
    needed = None
    winner = enough([cast(Option, arm.arm) for arm in ranked], found, margin)
    if winner is not None and (winner != best or rivals):
        sentence = _enough(winner, [arm.arm for arm in ranked], found, margin, confidence)
    elif rivals:
        needed = _all_needed([between(best, rival, found) for rival in rivals],
                             questions=ranked[0].questions, clusters=clusters,
                             effective=effective, pairs=len(found), confidence=confidence)
        sentence = _undecided(best, rivals, found, needed, questions=ranked[0].questions,
                              clusters=clusters, confidence=confidence)
    else:
        winner = cast(Option, best)
        sentence = _decided(ranked, found, metric, confidence)
    return Verdict(winner=winner, contenders=(best, *rivals), metric=metric,
                   prediction=prediction,
                   outcome=_outcome(prediction, winner, [arm.arm for arm in arms], found, alpha),
                   sentence=sentence, questions_needed=needed, margin=margin)


def between(a: str, b: str, found: Sequence[Difference]) -> Difference:
    """The difference `a` minus `b`, turned round if it was computed as `b` minus `a`."""
    for item in found:
        if (item.a, item.b) == (a, b):
            return item
        if (item.a, item.b) == (b, a):
            seen = item.difference
            return Difference(a, b, Interval(-seen.mean, -seen.high, -seen.low), item.p,
                              item.spread, item.error)
    raise KeyError(f"no difference between {a} and {b}")


def _beats(a: str, b: str, found: Sequence[Difference], alpha: float) -> bool:
    item = between(a, b, found)
    return item.p < alpha and item.difference.mean > 0


def _outcome(prediction: Option | None, winner: Option | None, arms: Sequence[str],
             found: Sequence[Difference], alpha: float) -> Outcome | None:
    if prediction is None:
        return None
    if prediction not in arms:
        return "undecided"
    if winner == prediction:
        return "confirmed"
    beaten = any(_beats(arm, prediction, found, alpha) for arm in arms if arm != prediction)
    needless = winner is not None and simpler(winner, prediction)
    return "refuted" if beaten or needless else "undecided"


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


def _all_needed(rivals: Sequence[Difference], *, questions: int, clusters: int,
                effective: float | None, pairs: int, confidence: float) -> int | None:
    each = [questions_needed(item, questions=questions, clusters=clusters, effective=effective,
                             pairs=pairs, confidence=confidence) for item in rivals]
    return None if None in each else max(n for n in each if n is not None)


def documents_needed(pairs: int, confidence: float) -> int:
    """The fewest documents with which any difference could pass the test at all.

    With n clusters there are 2^n ways to flip signs, so that no two-sided p-value is below
    2 / 2^n; Holm's strictest step multiplies it by the number of pairs.
    """
    return math.floor(1 + math.log2(pairs / (1 - confidence))) + 1


def _decided(ranked: Sequence[ArmSummary], found: Sequence[Difference], metric: str,
             confidence: float) -> str:
    best, second = ranked[0], ranked[1]
    lead = between(best.arm, second.arm, found).difference
    return (f"{best.arm} wins with {best.metrics[metric].mean:.2f} on {_words(metric)}, "
            f"{lead.mean:.2f} ahead of {second.arm}, the next best "
            f"({spread(lead, confidence)}).")


def _enough(winner: Option, ranked: Sequence[str], found: Sequence[Difference], margin: float,
            confidence: float) -> str:
    other = cast(Option, next(arm for arm in ranked if arm != winner))
    lead = between(winner, other, found).difference
    spared = f", which needs {without(winner, other)} as well" if simpler(winner, other) else ""
    return (f"{winner} is enough: at most {margin:g} behind any other; the best of them is "
            f"{other}{spared} ({winner} minus {other} is {signed(lead.mean)}, "
            f"{spread(lead, confidence)}).")


def _undecided(best: str, rivals: Sequence[str], found: Sequence[Difference],
               needed: int | None, *, questions: int, clusters: int, confidence: float) -> str:
    lead = between(best, rivals[0], found).difference
    sentence = (f"Not decidable yet: {_listed([best, *rivals])} cannot be told apart "
                f"({best} leads {rivals[0]} by {lead.mean:.2f}, {spread(lead, confidence)})")
    documents = documents_needed(len(found), confidence)
    if clusters < documents:
        return (f"{sentence}; the questions are about {clusters} independent "
                f"{'document' if clusters == 1 else 'documents'}, and below {documents} nothing "
                "can be shown.")
    if needed is None and any(needs_seeds(between(best, rival, found), pairs=len(found),
                                          confidence=confidence) for rival in rivals):
        return (f"{sentence}; more questions alone would not tell, for another training seed "
                "changes as much: more seeds would.")
    if needed is None:
        return f"{sentence}; they are so close that more questions would hardly tell."
    return (f"{sentence}; about {needed} questions instead of {questions} would tell, if the "
            "difference is as large as it looks.")


def spread(difference: Interval, confidence: float) -> str:
    """An interval with its level: "95% interval −0.02 to 0.10"."""
    return (f"{confidence * 100:g}% interval {signed(difference.low)} to "
            f"{signed(difference.high)}")


def signed(value: float) -> str:
    """Two decimals, with a true minus; never "−0.00"."""
    text = f"{abs(value):.2f}"
    return f"−{text}" if value < 0 and text != "0.00" else text


def _words(metric: str) -> str:
    return {"score": "the score"}.get(metric, metric.replace("_", " "))


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]])
