"""What an answer is worth: scores between 0 and 1, from its text and what it was shown.

Form is kept apart from knowledge: exact match and token F1 punish a right answer that talks,
`contains` does not.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from phi3kit.dataset.sources import same_source
from phi3kit.records import Question

METRICS = ("score", "token_f1", "exact_match", "contains", "abstention", "hit_at_k",
           "citation_precision")

# A kind of question counts as closed (answered with a label) from this many questions on,
# when its answers repeat and are few.
CLOSED_QUESTIONS = 4
CLOSED_LABELS = 20

_CITATION = re.compile(r"\s*\[\d+(?:\s*,\s*\d+)*\]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_RANGE = re.compile(r"(?<=\d)\s*[-–—]\s*(?=\d)")
_DECIMAL = re.compile(r"(?<=\d)\.(?=\d)")
_SIGN = re.compile(r"(?:(?<=\s)|^)[-−](?=\d)")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation + "“”‘’„«»–—…−")
# Stand-ins, from the private use area, for the marks inside numbers that must survive.
_POINT, _MINUS = "\ue000", "\ue001"


def plain(output: str) -> str:
    """An answer without its numbered citations and without a trailing full stop."""
    return _CITATION.sub("", output).strip().removesuffix(".").strip()


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces.

    SQuAD's normalisation (Rajpurkar et al. 2016, arXiv:1606.05250, evaluate-v1.1.py), except
    that numbers keep what distinguishes them: 7.5 is not 75, -5 is not 5, 10-12 is not 1012,
    and 1,000 is 1000. A text that is nothing but an article (the label "A") stays.
    """
    text = _RANGE.sub(" ", _THOUSANDS.sub("", text.lower()))
    text = _SIGN.sub(_MINUS, _DECIMAL.sub(_POINT, text)).translate(_PUNCTUATION)
    text = text.replace(_POINT, ".").replace(_MINUS, "-")
    return " ".join(_ARTICLES.sub(" ", text).split()) or " ".join(text.split())


def exact_match(output: str, gold: Sequence[str]) -> float:
    """1 if the normalised output equals one of the normalised gold answers."""
    return float(normalise(output) in {normalise(answer) for answer in gold})


def token_f1(output: str, gold: Sequence[str]) -> float:
    """The best F1 over the gold answers of the shared normalised words (SQuAD's F1)."""
    return max((_f1(normalise(output).split(), normalise(answer).split()) for answer in gold),
               default=0.0)


def _f1(output: Sequence[str], gold: Sequence[str]) -> float:
    shared = sum((Counter(output) & Counter(gold)).values())
    return 2 * shared / (len(output) + len(gold)) if shared else 0.0


def contains(output: str, gold: Sequence[str]) -> float:
    """1 if one of the gold answers, normalised, stands in the output as whole words."""
    inside = f" {normalise(output)} "
    return float(any(f" {normalise(answer)} " in inside for answer in gold if normalise(answer)))


def is_gold(source: str, question: Question) -> bool:
    """Whether a document is one of those that hold the answer."""
    return any(same_source(source, wanted) for wanted in question.source_ids)


def closed_kinds(questions: Iterable[Question]) -> frozenset[str]:
    """Kinds whose answers are labels: few, and each asked for more than once on average.

    The rule: at least CLOSED_QUESTIONS answerable questions of the kind, at most CLOSED_LABELS
    distinct answers, and at most half as many distinct answers as questions.
    """
    labels: dict[str, set[str]] = {}
    asked: Counter[str] = Counter()
    for question in questions:
        if question.kind and question.answerable:
            labels.setdefault(question.kind, set()).update(map(normalise, question.answers))
            asked[question.kind] += 1
    return frozenset(
        kind for kind, seen in labels.items()
        if asked[kind] >= CLOSED_QUESTIONS and len(seen) <= min(CLOSED_LABELS, asked[kind] / 2))


def measure(question: Question, output: str, *, abstained: bool, shown: Sequence[str],
            cited: Sequence[str], closed: frozenset[str], retrieved: bool,
            error: bool = False) -> Mapping[str, float]:
    """Every metric that applies to an answer, by name, 0 to 1.

    Unanswerable questions follow SQuAD 2.0 (Rajpurkar et al. 2018, arXiv:1806.03822): an
    abstention is worth 1 and anything else 0, by every measure of the answer. Abstaining on an
    answerable question, or failing with an error, is worth 0.

    Args:
        question: what was asked, with its gold answers and sources.
        output: what came out.
        abstained: the output says that it does not know.
        shown: sources of the passages in the prompt.
        cited: sources of the passages that the answer cites.
        closed: the kinds that are scored by exact match (see `closed_kinds`).
        retrieved: the arm retrieves, so that hit@k applies to it.
        error: there is no answer.
    """
    if not question.answerable or abstained or error:
        worth = float(abstained and not question.answerable and not error)
        scores = dict.fromkeys(("token_f1", "exact_match", "contains"), worth)
    else:
        text = plain(output)
        scores = {"token_f1": token_f1(text, question.answers),
                  "exact_match": exact_match(text, question.answers),
                  "contains": contains(text, question.answers)}
    is_closed = question.answerable and question.kind in closed
    scores = {"score": scores["exact_match" if is_closed else "token_f1"], **scores}
    scores["abstention"] = float(not error and abstained != question.answerable)
    if retrieved and question.source_ids:
        scores["hit_at_k"] = float(not error and any(is_gold(s, question) for s in shown))
    if cited and question.source_ids:
        scores["citation_precision"] = sum(is_gold(s, question) for s in cited) / len(cited)
    return scores
