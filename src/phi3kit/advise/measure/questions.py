"""How hard the documents are to search, by real questions whose answers stand in them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence

from phi3kit.advise.measure.corpus import Corpus
from phi3kit.advise.measure.findings import Findings, found, nothing
from phi3kit.records import Passage

DEPTH = 5  # passages, about what a prompt holds
EASY, HARD = 0.9, 0.6  # of the questions
_LEAST_QUESTIONS = 20
_LEAST_PASSAGES = 50  # among fewer, five are too many to miss
_EVERYWHERE = 0.05  # of the passages: an answer such as "yes" tells no place
_MOST = 1_000  # questions; more do not change the share
_LONGEST = 20  # words of an answer; longer ones are seldom literal
_WORD = re.compile(r"\w+")


def searchable_by_questions(corpus: Corpus, questions: Sequence[str],
                            homes: Sequence[Collection[int]]) -> Findings:
    """`documents_searchable`: how often BM25 finds a passage with the answer.

    "easy" when one of the first five passages has the answer for 90% of the questions or
    more, "hard" below 60%, else "mixed". Seen: the sample documents by their training
    questions 93%; descriptions of genetic conditions 100%, cancer information 96% and
    digestive diseases 93% by the questions of MedQuAD; abstracts by the questions of PubMedQA
    98%; sheets filled in from one template, by questions that do not name the sheet, 8%.
    This is evidence from questions, so it goes before `duplicates.searchable`, which has
    none.

    Args:
        questions: what users ask.
        homes: for each question, the indices in `corpus.passages` that hold its answer;
            questions without any, or with one in twenty passages, are left out.
    """
    passages = corpus.passages
    if len(passages) < _LEAST_PASSAGES:
        return nothing("documents_searchable",
                       f"{len(passages)} passages are too few to search among")
    widest = max(1, int(_EVERYWHERE * len(passages)))
    asked = [(question, set(home)) for question, home in zip(questions, homes, strict=True)
             if 0 < len(home) <= widest]
    if len(asked) < _LEAST_QUESTIONS:
        return nothing("documents_searchable",
                       f"{len(asked)} questions have their answer in a few passages; it takes "
                       f"{_LEAST_QUESTIONS}")
    step = -(-len(asked) // _MOST)  # spread over the whole dataset
    asked = asked[::step]
    hits = _hits(passages, asked)
    share = hits / len(asked)
    level = "easy" if share >= EASY else "hard" if share < HARD else "mixed"
    return found("documents_searchable", level,
                 f"for {hits:,} of {len(asked):,} questions ({share:.0%}) BM25 finds the answer "
                 f"among the first {DEPTH} of {len(passages):,} passages; {EASY:.0%} are easy, "
                 f"under {HARD:.0%} hard")


def literal_homes(corpus: Corpus, answers: Sequence[str]) -> list[list[int]]:
    """For each answer, the passages that hold its words in a row; none for long answers."""
    wanted = [_WORD.findall(answer.casefold()) for answer in answers]
    needed = {word for words in wanted for word in words}
    holding: defaultdict[str, set[int]] = defaultdict(set)
    plain: list[str] = []
    for number, (_, text) in enumerate(corpus.passages):
        words = _WORD.findall(text.casefold())
        plain.append(f" {' '.join(words)} ")
        for word in needed.intersection(words):
            holding[word].add(number)
    homes: list[list[int]] = []
    for words in wanted:
        some = set.intersection(*(holding[word] for word in words)) if (
            0 < len(words) <= _LONGEST) else set()
        homes.append([at for at in sorted(some) if f" {' '.join(words)} " in plain[at]])
    return homes


def _hits(passages: Sequence[tuple[int, str]], asked: Sequence[tuple[str, set[int]]]) -> int:
    from phi3kit.rag.lexical import build_index

    index = build_index([Passage(id=str(number), text=text, source="", start=0, end=len(text))
                         for number, (_, text) in enumerate(passages)])
    return sum(any(int(id_) in home for id_ in ids) for ids, (_, home) in zip(
        index.search([question for question, _ in asked], DEPTH), asked, strict=True))
