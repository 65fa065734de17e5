"""The similarity below which nothing should be found, chosen by evidence."""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.questions import read_questions
from phi3kit.compare.retrieval import verdict_of
from phi3kit.compare.statistics import paired_p
from phi3kit.errors import DataError, SettingsError
from phi3kit.rag.retrieve import open_retriever
from phi3kit.records import (
    CalibrationReport,
    Question,
    ThresholdEffect,
    ThresholdPoint,
)
from phi3kit.settings import Settings

LIMIT = 0.05
"""Share of answerable questions that the chosen threshold may refuse, unless told otherwise."""

_FOLDS = 10
# Of each kind, at least: with fewer, a share is a matter of one or two questions.
_LEAST = 5
_STEP = 0.01  # thresholds are tried on this grid; a setting has no use for more digits


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question: its nearest passage's similarity, whether it is answerable, its document."""

    similarity: float
    answerable: bool
    cluster: str


def calibrate(settings: Settings, limit: float = LIMIT) -> CalibrationReport:
    """The threshold that tells the questions of `compare.questions` apart best.

    A question counts as refused when the retriever finds nothing, which is when its nearest
    passage is less similar than the threshold. Best is the largest balanced accuracy (as is
    Youden's J, 1950, which is twice it less one) among the thresholds that refuse at most
    `limit` of the answerable questions; of equal ones the middle one. What it does to other
    questions is told by cross-validation over source documents.

    Args:
        settings: collection, filters and questions.
        limit: 0 to 1.

    Raises:
        SettingsError: no questions are named, or the limit is not a share.
        DataError: the file cannot be read, or has too few questions of one kind.
        StoreError: there is no such collection.
    """
    path = settings.compare.questions
    if not path:
        raise SettingsError("no questions are named", where="compare.questions",
                            mend="Give --questions FILE")
    if not 0 <= limit <= 1:
        raise SettingsError("must be a share, 0 to 1", where="--max-refused",
                            mend=f"Give for example {LIMIT}")
    questions = read_questions(Path(path))
    _require_both_kinds(questions, path)
    retriever = open_retriever(settings)
    near = retriever.similarities([q.question for q in questions])
    asked = [_Asked(similarity, q.answerable, q.source_ids[0] if q.source_ids else q.id)
             for similarity, q in zip(near, questions, strict=True)]
    method = Method(settings.compare.confidence, settings.compare.resamples,
                    settings.compare.seed)
    today, chosen = settings.ask.min_similarity, choose(asked, limit)
    folds = _folds(asked)
    before = [one.similarity < today for one in asked]
    after = _held_out(asked, folds, limit)
    gains = [(one.cluster, late - early) for one, late, early
             in zip(asked, _worth(asked, after), _worth(asked, before), strict=True)]
    gain, p = interval(gains, method, bounds=(-1.0, 1.0)), paired_p(gains, method)
    return CalibrationReport(
        collection=settings.ingest.collection, fingerprint=retriever.fingerprint,
        answerable=sum(one.answerable for one in asked),
        unanswerable=sum(not one.answerable for one in asked),
        clusters=len({one.cluster for one in asked}), folds=len(set(folds)),
        confidence=method.confidence, limit=limit, points=_points(asked, today, chosen),
        today=today, chosen=chosen, effect_today=_effect(asked, before, method),
        effect_chosen=_effect(asked, after, method), gain=gain, p=p,
        verdict=verdict_of(gain, p, method.confidence))


def _require_both_kinds(questions: Sequence[Question], path: str) -> None:
    for answerable, name in ((True, "answerable"), (False, "unanswerable")):
        count = sum(q.answerable == answerable for q in questions)
        if count < _LEAST:
            raise DataError(f"{count} {name} questions are too few to choose a threshold",
                            where=path, mend=f"Add some, to have at least {_LEAST}; an "
                                             'unanswerable one has "answerable": false')


def choose(asked: Sequence[_Asked], limit: float) -> float:
    """The threshold with the largest balanced accuracy that refuses at most `limit` wrongly."""
    gains = {}
    for at in _grid():
        refused, wrongly = _shares(asked, at)
        if wrongly <= limit:
            gains[at] = round(refused - wrongly, 9)  # shares that differ by rounding are equal
    best = max(gains.values())
    # Of a gap between both kinds its middle, for other questions will lie closer to its ends.
    return statistics.median_low(at for at, gain in gains.items() if gain == best)


def _grid() -> list[float]:
    steps = round(2 / _STEP)
    return [round(-1 + at * _STEP, 2) for at in range(steps + 1)]


def _shares(asked: Sequence[_Asked], threshold: float) -> tuple[float, float]:
    """Shares of the unanswerable and of the answerable questions that are refused."""
    shares = []
    for answerable in (False, True):
        near = sorted(one.similarity for one in asked if one.answerable == answerable)
        shares.append(bisect.bisect_left(near, threshold) / len(near) if near else 0.0)
    return shares[0], shares[1]


def _folds(asked: Sequence[_Asked]) -> list[int]:
    """A fold for each question; a document's questions share one.

    Documents take turns in the order of their first question, those with unanswerable
    questions apart from the others, so that every fold has some of both.
    """
    turns: dict[str, int] = {}
    counts = {True: 0, False: 0}
    without = {one.cluster for one in asked if not one.answerable}
    for one in asked:
        if one.cluster not in turns:
            kind = one.cluster not in without
            turns[one.cluster] = counts[kind] % _FOLDS
            counts[kind] += 1
    return [turns[one.cluster] for one in asked]


def _held_out(asked: Sequence[_Asked], folds: Sequence[int], limit: float) -> list[bool]:
    """Whether each question is refused by the threshold chosen without its fold."""
    thresholds = {fold: choose([one for one, own in zip(asked, folds, strict=True)
                                if own != fold], limit) for fold in set(folds)}
    return [one.similarity < thresholds[fold] for one, fold in zip(asked, folds, strict=True)]


def _worth(asked: Sequence[_Asked], refused: Sequence[bool]) -> list[float]:
    """Numbers whose mean is the balanced accuracy: right ones weigh as their kind is rare."""
    counts = {kind: sum(one.answerable == kind for one in asked) for kind in (True, False)}
    return [(no != one.answerable) * len(asked) / (2 * counts[one.answerable])
            for one, no in zip(asked, refused, strict=True)]


def _effect(asked: Sequence[_Asked], refused: Sequence[bool], method: Method) -> ThresholdEffect:
    of_kind = {kind: [(one.cluster, float(no)) for one, no in zip(asked, refused, strict=True)
                      if one.answerable == kind] for kind in (True, False)}
    balanced = [(one.cluster, worth) for one, worth
                in zip(asked, _worth(asked, refused), strict=True)]
    return ThresholdEffect(interval(of_kind[False], method), interval(of_kind[True], method),
                           interval(balanced, method))


def _points(asked: Sequence[_Asked], *marked: float) -> tuple[ThresholdPoint, ...]:
    """The trade-off at every twentieth in which something happens, and at the marked ones."""
    near = [one.similarity for one in asked]
    low, high = math.floor(min(near) * 20) / 20, math.ceil(max(near) * 20) / 20
    steps = {round(low + at * 0.05, 2) for at in range(round((high - low) * 20) + 1)}
    return tuple(ThresholdPoint(at, *_shares(asked, at)) for at in sorted({*steps, *marked}))
