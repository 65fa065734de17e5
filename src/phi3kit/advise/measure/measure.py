"""Every answer that the documents give."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from phi3kit.advise.measure.changes import facts_change
from phi3kit.advise.measure.corpus import Corpus
from phi3kit.advise.measure.duplicates import searchable
from phi3kit.advise.measure.findings import Findings
from phi3kit.advise.measure.questions import literal_homes, searchable_by_questions
from phi3kit.advise.measure.tokens import corpus_tokens
from phi3kit.advise.measure.vocabulary import vocabulary
from phi3kit.progress import bar


def measure_corpus(corpus: Corpus, asked: Sequence[tuple[str, str]] = ()) -> Findings:
    """Answers to `corpus_tokens`, `facts_change`, `documents_searchable` and `vocabulary`.

    Each is among the measured or, with the reason, among the unmeasured ones. The order in
    which the documents were read does not matter.

    Args:
        asked: (question, answer) of a dataset; those whose answer stands literally in the
            documents tell how hard these are to search. Without enough of them only
            near-duplicates can.
    """
    def search(corpus: Corpus) -> Findings:
        questions = [question for question, _ in asked]
        findings = searchable_by_questions(
            corpus, questions, literal_homes(corpus, [answer for _, answer in asked]))
        return findings if findings.measured else searchable(corpus)

    measures: tuple[Callable[[Corpus], Findings], ...] = (
        corpus_tokens, facts_change, search if asked else searchable, vocabulary)
    findings = Findings()
    with bar("measuring the documents", len(measures)) as advance:
        for measure in measures:
            findings += measure(corpus)
            advance(1)
    return findings
