"""Which measure applies to which answer, and what the answer is worth by it.

All of it is in `measure` and the two tables above it. A measure is of one answer and is left
out where it does not apply, so that a mean over the rows that have it is what its name says:
the mean of `abstention_precision`, which only abstentions have, is the precision of
abstaining. What is no mean of answers is in `sets`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from phi3kit.compare.formats import Formats
from phi3kit.compare.normal import normalise
from phi3kit.compare.overlap import chrf, length_ratio, rouge_l, span_f1
from phi3kit.compare.words import contains, exact_match, pairs, plain, token_f1
from phi3kit.dataset.sources import same_source
from phi3kit.records import Question

# A kind of question counts as closed (answered with a label) from this many questions on,
# when its answers repeat and are few.
CLOSED_QUESTIONS = 4
CLOSED_LABELS = 20


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer and all that it is judged by.

    Attributes:
        question: what was asked, with its gold answers and sources.
        output: what came out; "" on an error.
        abstained: the output says that it does not know.
        shown: sources of the passages in the prompt.
        cited: sources of the passages that the answer cites.
        fabricated: it cites a passage that is not there.
        unsupported: its numbers that stand in none of its passages.
        closed: the question's kind is answered with a label (see `closed_kinds`).
        retrieved: the passages were searched for.
        reads: the arm answers from passages.
        error: there is no answer.
    """

    question: Question
    output: str
    abstained: bool = False
    shown: Sequence[str] = ()
    cited: Sequence[str] = ()
    fabricated: bool = False
    unsupported: Sequence[str] = ()
    closed: bool = False
    retrieved: bool = False
    reads: bool = False
    error: bool = False

    @property
    def text(self) -> str:
        """The output without citations and full stop."""
        return plain(self.output, self.question.answers)

    @property
    def answers(self) -> bool:
        """It says something, right or wrong."""
        return not self.error and not self.abstained

    @property
    def sourced(self) -> bool:
        """There is an answer, and the question names the documents that hold it."""
        return self.question.answerable and bool(self.question.source_ids)


def words(text: str) -> list[str]:
    """The normalised words of a text; a symbol alone is none."""
    return [word for word in normalise(text).split() if any(map(str.isalnum, word))]


def _span(output: str, gold: Sequence[str]) -> float:
    return max((span_f1(own, [answer]) for own, answer in pairs(output, gold)), default=0.0)


def _rouge_l(output: str, gold: Sequence[str]) -> float:
    return max((rouge_l(" ".join(own), [" ".join(answer)], str.split)
                for own, answer in pairs(output, gold)), default=0.0)


# Of every answer. Unanswerable questions follow SQuAD 2.0 (Rajpurkar et al. 2018,
# arXiv:1806.03822): an abstention is worth 1 and anything else 0. Abstaining on an answerable
# question is worth 0.
_RIGHT: Mapping[str, Callable[[str, Sequence[str]], float]] = {
    "token_f1": token_f1,
    "exact_match": exact_match,
    "contains": contains,
    "span_f1": _span,
    "rouge_l": _rouge_l,
    "chrf": chrf,
}

# (applies to it, its worth). Where an error is within what a measure applies to, it is worth 0.
_Measure = tuple[Callable[[Seen], bool], Callable[[Seen], float]]
_SPECIAL: Mapping[str, _Measure] = {
    "label_accuracy": (
        lambda seen: seen.closed and seen.question.answerable,
        lambda seen: seen.answers and exact_match(seen.text, seen.question.answers)),
    "term_recall": (
        lambda seen: bool(seen.question.terms) and seen.question.answerable,
        lambda seen: _share(contains(seen.text, [term]) for term in seen.question.terms)),
    "abstention": (
        lambda seen: True,
        lambda seen: seen.abstained != seen.question.answerable),
    "abstention_precision": (
        lambda seen: seen.abstained and not seen.error,
        lambda seen: not seen.question.answerable),
    "abstention_recall": (
        lambda seen: not seen.question.answerable,
        lambda seen: seen.abstained),
    "hit_at_k": (
        lambda seen: seen.retrieved and bool(seen.question.source_ids),
        lambda seen: any(is_gold(source, seen.question) for source in seen.shown)),
    "citation_precision": (
        lambda seen: bool(seen.cited) and bool(seen.question.source_ids),
        lambda seen: _share(is_gold(source, seen.question) for source in seen.cited)),
    "citation_recall": (
        lambda seen: seen.reads and seen.sourced,
        lambda seen: _share(any(same_source(source, wanted) for source in seen.cited)
                            for wanted in seen.question.source_ids)),
    # The following are better when they are lower, so that an error is in none of them.
    "fabricated_citations": (
        lambda seen: seen.answers and bool(seen.shown),
        lambda seen: seen.fabricated),
    "unsupported_numbers": (
        lambda seen: seen.answers and bool(seen.shown),
        lambda seen: bool(seen.unsupported)),
    "length_ratio": (
        lambda seen: seen.answers and seen.question.answerable,
        lambda seen: length_ratio(words(seen.text), [words(a) for a in seen.question.answers])),
}

SIMILARITY = "similarity"  # measured by an embedder, in `similarity`
METRICS = ("score", *_RIGHT, "label_accuracy", "format_valid", "term_recall", SIMILARITY,
           *(name for name in _SPECIAL if name not in ("label_accuracy", "term_recall")))
# Of those that are no share.
_BOUNDS: Mapping[str, tuple[float, float]] = {"length_ratio": (0.0, math.inf)}


def bounds_of(metric: str) -> tuple[float, float]:
    """What the mean of a metric can be at least and at most."""
    return _BOUNDS.get(metric, (0.0, 1.0))


def measure(seen: Seen, formats: Formats | None = None) -> dict[str, float]:
    """Every measure that applies to an answer, by name; all but `length_ratio` are 0 to 1.

    `score` is the exact label for closed kinds and token F1 for the rest.

    Args:
        seen: the answer.
        formats: the tests of `formats.read_formats`, by the names that questions give.
    """
    right = {name: _worth(seen, worth) for name, worth in _RIGHT.items()}
    is_label = seen.closed and seen.question.answerable
    scores = {"score": right["exact_match" if is_label else "token_f1"], **right}
    scores |= {name: 0.0 if seen.error else float(worth(seen))
               for name, (applies, worth) in _SPECIAL.items() if applies(seen)}
    test = (formats or {}).get(seen.question.format)
    if test is not None and seen.question.answerable:
        # As it came first, for "[1]" is a citation in prose and a list in JSON.
        scores["format_valid"] = float(
            not seen.error and (test(seen.output.strip()) or test(seen.text)))
    return scores


def _worth(seen: Seen, worth: Callable[[str, Sequence[str]], float]) -> float:
    if not seen.answers or not seen.question.answerable:
        return float(seen.abstained and not seen.question.answerable and not seen.error)
    return worth(seen.text, seen.question.answers)


def _share(values: Iterable[float]) -> float:
    held = [float(value) for value in values]
    return sum(held) / len(held)


def is_gold(source: str, question: Question) -> bool:
    """Whether a document is one of those that hold the answer."""
    return any(same_source(source, wanted) for wanted in question.source_ids)


def closed_kinds(questions: Iterable[Question]) -> frozenset[str]:
    """Kinds whose answers are labels: few, and each asked for more than once on average.

    The rule: at least CLOSED_QUESTIONS answerable questions of the kind, at most CLOSED_LABELS
    distinct answers, and at most half as many distinct answers as questions. Questions without
    a kind are one, "".
    """
    labels: dict[str, set[str]] = {}
    asked: Counter[str] = Counter()
    for question in questions:
        if question.answerable:
            labels.setdefault(question.kind, set()).update(map(normalise, question.answers))
            asked[question.kind] += 1
    return frozenset(
        kind for kind, seen in labels.items()
        if asked[kind] >= CLOSED_QUESTIONS and len(seen) <= min(CLOSED_LABELS, asked[kind] / 2))
