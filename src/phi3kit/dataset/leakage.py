"""Which examples give held-out questions away: what was trained on measures memory."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from phi3kit.dataset.examples import Example
from phi3kit.dataset.heldout import HeldOut, normalise
from phi3kit.dataset.normal import SYMBOLS
from phi3kit.dataset.similar import ALIKE, Near, jaccard, runs
from phi3kit.records import Leak

GRAM = 13
"""Words in a row that two texts do not share by accident (Brown et al. 2020, "Language Models
are Few-Shot Learners", appendix C, which cleans GPT-3's training data by 13-grams)."""

# A slash between words parts them and no more: "and/or".
_TELLING = re.compile(rf"\d|^[{re.escape(SYMBOLS.replace('/', ''))}]+$")


def find_leaks(examples: Sequence[Example], questions: Sequence[HeldOut], *,
               near: bool = True) -> tuple[Leak, ...]:
    """Each example that gives a held-out question away, once for each question, by line.

    - exact: a user's turn asks it; case, punctuation and spacing do not count
    - 13-gram: example and question share 13 words in a row, and no other question has them:
      those that several have are the way they are asked ("Sort this message into one of…")
    - near: the words of a user's turn and of the question are at least 0.8 alike (Jaccard),
      with the same numbers and symbols, order aside. Such an example may be another question
      after all; it is to be read.

    Args:
        near: look for the last of these too, which takes most of the time.
    """
    # Of several findings the strongest, which comes last, is told.
    leaks = ((_near(examples, questions) if near else {}) | _shared_runs(examples, questions)
             | _exact(examples, questions))
    return tuple(
        Leak(examples[at].line, questions[asked].id, questions[asked].where, how)
        for (at, asked), how in sorted(leaks.items(), key=lambda item: item[0]))


class Asked:
    """Questions that were asked already, to keep others from asking them again.

    Args:
        questions: the first of them; `add` brings more.
    """

    def __init__(self, questions: Iterable[str] = ()) -> None:
        self._texts: set[str] = set()
        self._by_numbers: defaultdict[frozenset[str], list[set[str]]] = defaultdict(list)
        for question in questions:
            self.add(question)

    def add(self, question: str) -> None:
        """From now on `question` is known."""
        self._texts.add(normalise(question))
        self._by_numbers[numbers(question)].append(_words(question))

    def knows(self, question: str) -> bool:
        """Whether this question, or one with nearly the same words, was asked."""
        words = _words(question)
        return normalise(question) in self._texts or any(
            jaccard(words, other) >= ALIKE for other in self._by_numbers[numbers(question)])


def numbers(text: str) -> frozenset[str]:
    """The words with digits, and the symbols: what differs in them asks for different things."""
    return frozenset(filter(_TELLING.search, normalise(text).split()))


_Leaks = dict[tuple[int, int], str]  # (example, question): how


def _exact(examples: Sequence[Example], questions: Sequence[HeldOut]) -> _Leaks:
    by_text: defaultdict[str, list[int]] = defaultdict(list)
    for number, question in enumerate(questions):
        by_text[normalise(question.question)].append(number)
    return {(at, asked): "exact" for at, example in enumerate(examples)
            for text in example.asked for asked in by_text.get(normalise(text), ())}


def _shared_runs(examples: Sequence[Example], questions: Sequence[HeldOut]) -> _Leaks:
    every: defaultdict[str, list[int]] = defaultdict(list)
    texts = [normalise(question.question) for question in questions]
    for number, text in enumerate(texts):
        if len(words := text.split()) >= GRAM:
            for run in runs(words, GRAM):
                every[run].append(number)
    by_run = {run: numbers for run, numbers in every.items()
              if len({texts[number] for number in numbers}) == 1}
    if not by_run:
        return {}
    found: _Leaks = {}
    for at, example in enumerate(examples):
        words = normalise("\n".join(m["content"] for m in example.messages)).split()
        shared = {asked for run in runs(words, GRAM) for asked in by_run.get(run, ())}
        found.update(dict.fromkeys(((at, asked) for asked in shared), "13-gram"))
    return found


def _near(examples: Sequence[Example], questions: Sequence[HeldOut]) -> _Leaks:
    turns = [(at, text) for at, example in enumerate(examples) for text in example.asked]
    if not questions or not turns:
        return {}
    sets = [_words(question.question) for question in questions]
    sets += [_words(text) for _, text in turns]
    index = Near(sets)
    for number in range(len(questions)):
        index.insert(number)
    found: _Leaks = {}
    for place, (at, text) in enumerate(turns, start=len(questions)):
        for asked in index.candidates(place):
            if (jaccard(sets[place], sets[asked]) >= ALIKE
                    and numbers(text) == numbers(questions[asked].question)):
                found[at, asked] = "near"
    return found


def _words(text: str) -> set[str]:
    return set(normalise(text).split())
