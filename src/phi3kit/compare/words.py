"""Words of answers, normalised, and what they are worth by shared words.

Form is kept apart from knowledge: exact match and token F1 punish a right answer that talks,
`contains` does not.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

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
