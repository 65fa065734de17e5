"""Words of answers, and what they are worth by those that they share.

Form is kept apart from knowledge: exact match and token F1 punish a right answer that talks,
`contains` does not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from phi3kit.compare.normal import article_label, normalise
from phi3kit.parsing import whole_json

_CITATION = re.compile(r"\s*(\[\d+(?:\s*,\s*\d+)*\])")


def plain(output: str, gold: Sequence[str] = ()) -> str:
    """An answer without its numbered citations and without a trailing full stop.

    What is JSON as a whole has no citations, and a bracket that a gold answer has too (the [0]
    of `rows[0]`) is none.
    """
    if whole_json(output) is not None:
        return output.strip()
    said = [answer.replace(" ", "") for answer in gold if "[" in answer]

    def cited(match: re.Match[str]) -> str:
        bracket = match[1].replace(" ", "")
        return match[0] if any(bracket in answer for answer in said) else ""

    return _CITATION.sub(cited, output).strip().removesuffix(".").strip()


def pairs(output: str, gold: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """For each gold answer, the normalised words of the output and its own."""
    return [(normalise(output, article_label(answer)).split(), normalise(answer).split())
            for answer in gold]


def exact_match(output: str, gold: Sequence[str]) -> float:
    """1 if the normalised output equals one of the normalised gold answers."""
    return float(any(words == answer for words, answer in pairs(output, gold)))


def token_f1(output: str, gold: Sequence[str]) -> float:
    """The best F1 over the gold answers of the shared normalised words (SQuAD's F1)."""
    return max((_f1(words, answer) for words, answer in pairs(output, gold)), default=0.0)


def _f1(output: Sequence[str], gold: Sequence[str]) -> float:
    shared = sum((Counter(output) & Counter(gold)).values())
    return 2 * shared / (len(output) + len(gold)) if shared else 0.0


def contains(output: str, gold: Sequence[str]) -> float:
    """1 if one of the gold answers, normalised, stands in the output as whole words."""
    return float(any(answer and f" {' '.join(answer)} " in f" {' '.join(words)} "
                     for words, answer in pairs(output, gold)))
