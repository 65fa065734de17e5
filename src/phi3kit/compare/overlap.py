"""How much of the right answer stands in an output, by measures of their libraries and one own."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any


def rouge_l(output: str, gold: Sequence[str], words: Callable[[str], list[str]]) -> float:
    """The best ROUGE-L F1 over the gold answers: longest common subsequence of words.

    Lin 2004 (ROUGE: A Package for Automatic Evaluation of Summaries, W04-1013), computed by
    rouge-score. Its own tokenizer keeps a to z and digits only; `words` stands in for it, so
    that other scripts count.
    """
    scorer = _rouge(words)
    return float(max((scorer.score(answer, output)["rougeL"].fmeasure for answer in gold),
                     default=0.0))


@functools.cache
def _rouge(words: Callable[[str], list[str]]) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    class Words:
        def tokenize(self, text: str) -> list[str]:
            return words(text)

    return RougeScorer(["rougeL"], tokenizer=Words())


def chrf(output: str, gold: Sequence[str]) -> float:
    """The best chrF over the gold answers, 0 to 1: character 1- to 6-grams, recall twice.

    Popović 2015 (chrF: character n-gram F-score, W15-3049), computed by sacrebleu with its
    defaults.
    """
    if not gold:
        return 0.0
    return float(_chrf().sentence_score(output, list(gold)).score) / 100


@functools.cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def span_f1(output: Sequence[str], gold: Sequence[Sequence[str]]) -> float:
    """The best F1 of shared words that any stretch of the output has with a gold answer.

    Token F1 with the words around the answer forgiven. The longer an output, the better its
    best stretch does by luck, so that what this takes from a lead bounds the part of form
    from above.

    Args:
        output: normalised words.
        gold: normalised words of each gold answer.
    """
    return max((_best_span(output, answer) for answer in gold if answer), default=0.0)


def _best_span(output: Sequence[str], answer: Sequence[str]) -> float:
    wanted, size = Counter(answer), len(answer)
    # A longer stretch than size² cannot beat one shared word standing alone.
    longest = max(1, size * size)
    best = 0.0
    for start, first in enumerate(output):
        if first not in wanted:  # a best stretch begins with a shared word
            continue
        left, shared = wanted.copy(), 0
        for length, word in enumerate(output[start:start + longest], start=1):
            if left[word] > 0:
                left[word] -= 1
                shared += 1
                best = max(best, 2 * shared / (length + size))
                if shared == size:
                    break
    return best


def length_ratio(output: Sequence[str], gold: Sequence[Sequence[str]]) -> float:
    """Words of the output over those of the gold answer that is nearest in length."""
    lengths = [len(answer) for answer in gold if answer]
    if not lengths:
        return float(len(output))
    return len(output) / min(lengths, key=lambda n: (abs(n - len(output)), n))
