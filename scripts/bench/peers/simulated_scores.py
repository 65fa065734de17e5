"""Scores drawn from models whose truth is known, to see what the statistics make of them.

A question's score in an arm comes from a latent normal value: how hard its document is (the same
for all arms), how well the arm does on that document, and the question itself. Questions about
one document are so alike, in their scores and in the differences between arms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from phi3kit.records import OPTIONS, Option, Row

# Shares of the latent variance: documents, an arm on a document, the question.
DOCUMENT, ARM_ON_DOCUMENT = 0.2, 0.2
# And of an arm that was trained: its seed, the same for all questions, and its seed on a question.
SEED, SEED_ON_QUESTION = 0.2, 0.1
ZEROS, ONES = 0.4, 0.15  # of token F1, as the packaged model's answers have them

Values = np.ndarray
Score = Callable[[Values], Values]


def token_f1(share: Values) -> Values:
    """Latent quantiles to scores with many zeros, some ones, and the rest evenly between."""
    return np.clip((share - ZEROS) / (1 - ZEROS - ONES), 0.0, 1.0)


def right(share: Values) -> Values:
    """Latent quantiles to yes/no, yes in 4 of 10."""
    return (share > 0.6).astype(float)


MEANS: Mapping[str, tuple[Score, float]] = {
    "token F1": (token_f1, ONES + (1 - ZEROS - ONES) / 2), "yes/no": (right, 0.4)}


def clusters_of(questions: int, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """The document of each question: each has one at least, the others fall at random."""
    return np.concatenate([np.arange(clusters),
                           rng.integers(clusters, size=questions - clusters)])


def latent(documents: np.ndarray, arms: int, rng: np.random.Generator) -> Values:
    """Quantiles [arms, questions] of the latent values, each uniform on 0 to 1."""
    count = int(documents.max()) + 1
    document = rng.normal(size=count)[documents]
    arm_on_document = rng.normal(size=(arms, count))[:, documents]
    own = rng.normal(size=(arms, len(documents)))
    total = (np.sqrt(DOCUMENT) * document + np.sqrt(ARM_ON_DOCUMENT) * arm_on_document
             + np.sqrt(1 - DOCUMENT - ARM_ON_DOCUMENT) * own)
    return np.asarray(stats.norm.cdf(total))


def latent_with_seeds(documents: np.ndarray, seeds: int,
                      rng: np.random.Generator) -> tuple[Values, Values]:
    """Quantiles of an arm without training [questions], and of one by seed [seeds, questions].

    Over documents, questions and seeds each is uniform on 0 to 1: the arms are equally good, and
    a seed makes one of them better or worse by luck.
    """
    count = int(documents.max()) + 1
    document = np.sqrt(DOCUMENT) * rng.normal(size=count)[documents]
    plain, trained = (document + np.sqrt(ARM_ON_DOCUMENT) * rng.normal(size=count)[documents]
                      for _ in range(2))
    own = 1 - DOCUMENT - ARM_ON_DOCUMENT
    plain = plain + np.sqrt(own) * rng.normal(size=len(documents))
    trained = (trained + np.sqrt(own - SEED - SEED_ON_QUESTION) * rng.normal(size=len(documents))
               + np.sqrt(SEED) * rng.normal(size=(seeds, 1))
               + np.sqrt(SEED_ON_QUESTION) * rng.normal(size=(seeds, len(documents))))
    return np.asarray(stats.norm.cdf(plain)), np.asarray(stats.norm.cdf(trained))


@dataclass(frozen=True)
class Case:
    """A set of questions whose right outcome is known.

    Attributes:
        kinds: by kind of question, the chance that each option answers it right.
        best: the simplest of those options that no other one beats in truth.
    """

    name: str
    kinds: Mapping[str, Mapping[Option, float]]
    best: Option


_ALONE = {"base": 0.1, "rag": 0.1, "finetune": 0.1, "both": 0.1}
CASES = (
    Case("facts stand in documents only", {"fact": {**_ALONE, "rag": 0.6, "both": 0.6}},
         "rag"),
    Case("labels are learned from examples only",
         {"label": {**_ALONE, "finetune": 0.7, "both": 0.7}}, "finetune"),
    Case("facts in documents, answered in a form that is learned",
         {"fact": {**_ALONE, "rag": 0.25, "both": 0.6}}, "both"),
    Case("half facts, half labels",
         {"fact": {**_ALONE, "rag": 0.6, "both": 0.6},
          "label": {**_ALONE, "finetune": 0.7, "both": 0.7}}, "both"),
    Case("tuning harms reading", {"fact": {**_ALONE, "rag": 0.7, "both": 0.35}},
         "rag"),
    Case("tuning is enough and passages distract",
         {"label": {**_ALONE, "finetune": 0.75, "both": 0.4}}, "finetune"),
    Case("nothing helps", {"fact": dict.fromkeys(OPTIONS, 0.4)}, "base"),
)


def rows_of(case: Case, seed: int, *, questions: int = 100, clusters: int = 30) -> list[Row]:
    """Every option's rows for such a set."""
    rng = np.random.default_rng(seed)
    documents = clusters_of(questions, clusters, rng)
    share = latent(documents, len(OPTIONS), rng)
    names = list(case.kinds)
    rows = []
    for at, option in enumerate(OPTIONS):
        for number, document in enumerate(documents):
            kind = names[number % len(names)]
            worth = float(share[at, number] > 1 - case.kinds[kind][option])
            rows.append(_row(option, number, f"d{document}", kind, worth))
    return rows


def _row(arm: str, number: int, cluster: str, kind: str, worth: float) -> Row:
    return Row(arm=arm, question_id=f"q{number}", kind=kind, cluster=cluster,
               question=f"Question {number}?", gold=("yes",), output="yes" if worth else "no",
               abstained=False, citations=(), removed_citations=(), passages=(), sources=(),
               tokens_in=10, tokens_out=1, seconds=1.0,
               metrics={"score": worth, "exact_match": worth})


def pairs(values: Values, documents: np.ndarray) -> Sequence[tuple[str, float]]:
    """(document, value) for each question, as the statistics take them."""
    return [(f"d{document}", float(value))
            for document, value in zip(documents, values, strict=True)]
