"""Facts that can be edited soundly, and the documents with the edits made.

A fact is a held-out question whose answer stands word for word in one of its documents. It
is left out where an edit could leave the document at odds with itself, so that what an arm
says afterwards is right, out of date, or neither.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from phi3kit.compare.normal import normalise
from phi3kit.compare.words import contains
from phi3kit.dataset.sources import same_source
from phi3kit.records import Question

_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
          "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
          "nineteen", "twenty")
_WORD = re.compile(rf"(?<![\w-])({'|'.join(_WORDS)})(?![\w-])", re.IGNORECASE)
_RUN = re.compile(r"\d+")
_YEAR = re.compile(r"(?<!\d)(?:1[5-9]|20)\d\d(?!\d)")
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d|(?:january|february|march|april|may|june|july|august|september|october|"
    r"november|december)\b.*\d", re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)")
# "10-12" and "4 to 6": another number may turn the ends around.
_RANGE = re.compile(r"\d\s*(?:[-–—/]|to|of|in)\s*\d", re.IGNORECASE)
_NAME = re.compile(r"[^\W\d_][\w'’-]*(?: [^\W\d_][\w'’-]*){0,3}")
_DRAWS = 50


@dataclass(frozen=True, slots=True)
class Edit:
    """One fact, before and after.

    Attributes:
        source: the document that holds it, as the collection names it.
        old: the answer as it stood there; `new` stands in its place.
        outdated: every way of giving the old answer that the question allows.
        answers: the same of the new one, as far as they follow from it.
    """

    question: Question
    source: str
    old: str
    new: str
    outdated: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edits:
    """What was chosen: the facts, and the text of each document that holds one, edited."""

    facts: tuple[Edit, ...]
    texts: Mapping[str, str]


def choose(questions: Sequence[Question], texts: Mapping[str, str], closed: frozenset[str], *,
           facts: int, seed: int) -> Edits:
    """Choose and edit at most `facts` facts, one in each document.

    Args:
        questions: the held-out ones.
        texts: of every document, by its source; read only as far as it is needed.
        closed: kinds of question that are answered with a label; they are no facts.
        facts: how many; fewer are chosen where fewer can be edited soundly.
        seed: of the choice and of the new values.
    """
    rng = random.Random(seed)
    order = [q for q in questions if q.answerable and q.answers and q.kind not in closed]
    rng.shuffle(order)
    chosen: list[Edit] = []
    edited: dict[str, str] = {}
    for question in order:
        if len(chosen) == facts:
            break
        sources = [source for source in texts
                   if any(same_source(source, wanted) for wanted in question.source_ids)]
        found = _edit(question, {source: texts[source] for source in sources}, questions, rng)
        if found is not None and found[0].source not in edited:
            chosen.append(found[0])
            edited[found[0].source] = found[1]
    return Edits(tuple(chosen), edited)


def _edit(question: Question, texts: Mapping[str, str], questions: Sequence[Question],
          rng: random.Random) -> tuple[Edit, str] | None:
    """The edit with the edited text; None where none is sound."""
    for old in sorted(question.answers, key=len, reverse=True):
        holding = [source for source, text in texts.items() if contains(text, [old])]
        if len(holding) != 1 or not spans(old).search(texts[holding[0]]):
            continue
        text = texts[holding[0]]
        for new in _others(old, question, questions, rng):
            after = spans(old).sub(lambda _, new=new: new, text)  # type: ignore[misc]
            if not contains(text, [new]) and not _left(old, question, after):
                answers = tuple(dict.fromkeys([new, *_alike(question.answers, old, new)]))
                return Edit(question, holding[0], old, new, question.answers, answers), after
    return None


def spans(answer: str) -> re.Pattern[str]:
    """Matches the answer where it is no part of a longer word, number or code."""
    return re.compile(rf"(?<!\w)(?<!\w[-–/:.,]){re.escape(answer)}(?!\w)(?![-–/:.,]\w)")


def _left(old: str, question: Question, after: str) -> bool:
    """Whether the old fact can still be read in the edited text.

    A bare number beside the whole answer ("5" of "5 hours") may count something else.
    """
    kept = [answer for answer in question.answers
            if answer == old or not normalise(answer).replace(".", "").isdigit()]
    if not _numeric(old):
        kept += [word for word in old.split() if len(word) > 2]  # a surname alone
    return bool(contains(after, kept))


def _numeric(answer: str) -> bool:
    return bool(_RUN.search(answer) or _WORD.search(answer))


def _others(old: str, question: Question, questions: Sequence[Question],
            rng: random.Random) -> Iterator[str]:
    """Values of the same form, in random order; none where the kind cannot be told."""
    if _RUN.search(old):
        if _RANGE.search(old) and not _DATE.search(old):
            return
        made = (_digits(old, rng) for _ in range(_DRAWS))
        yield from (new for new in dict.fromkeys(made) if new != old)
    elif _WORD.search(old):
        words = rng.sample(_WORDS, len(_WORDS))
        made = (_WORD.sub(lambda found, word=word: _cased(word, found[0]), old)  # type: ignore[misc]
                for word in words)
        yield from (new for new in made if normalise(new) != normalise(old))
    elif _is_name(old):
        names = sorted({answer for other in questions for answer in other.answers
                        if other.kind == question.kind and _asks(other) == _asks(question)
                        and _is_name(answer) and len(answer.split()) == len(old.split())
                        and not set(normalise(answer).split()) & set(normalise(old).split())})
        yield from rng.sample(names, len(names))


def _digits(old: str, rng: random.Random) -> str:
    """Another number, amount, time or date of the same form."""
    if _DATE.search(old):
        # The year alone: any day of it is one that another year has, but for 29 February.
        if "29" in old:
            return old
        return _YEAR.sub(lambda found: str(int(found[0]) - rng.randint(1, 9)), old)
    if _CLOCK.search(old):
        return _CLOCK.sub(lambda found: _time(len(found[1]), rng), old)
    if _YEAR.fullmatch(old.strip()):
        return str(int(old) - rng.randint(1, 9))
    return _RUN.sub(lambda found: _run(found[0], rng), old)


def _time(width: int, rng: random.Random) -> str:
    hour = rng.randint(10, 23) if width == 2 else rng.randint(1, 9)
    return f"{hour}:{rng.randint(0, 59):02}"


def _run(digits: str, rng: random.Random) -> str:
    """As many digits; neither 0 nor 1 where there is one, for its noun is in the plural."""
    first = str(rng.randint(2, 9)) if len(digits) == 1 else (
        "0" if digits[0] == "0" else str(rng.randint(1, 9)))
    return first + "".join(str(rng.randint(0, 9)) for _ in digits[1:])


def _cased(word: str, like: str) -> str:
    return word.capitalize() if like[0].isupper() else word


def _is_name(answer: str) -> bool:
    return bool(_NAME.fullmatch(answer)) and not answer.isupper() and all(
        word[0].isupper() for word in answer.split())


def _asks(question: Question) -> tuple[str, ...]:
    """What a question asks for: "who", or "which boat"."""
    words = question.question.lower().split()
    return tuple(words[:1] if words[:1] in (["who"], ["where"]) else words[:2])


def _alike(answers: Sequence[str], old: str, new: str) -> Iterator[str]:
    """The other forms of the answer ("95 Nm" of "95 newton metres") with the new number."""
    for pattern in (_RUN, _WORD):
        before, after = pattern.findall(old), pattern.findall(new)
        for answer in answers:
            if before and answer != old and pattern.findall(answer) == before:
                values = iter(after)
                yield pattern.sub(lambda _, values=values: next(values), answer)  # type: ignore[misc]
