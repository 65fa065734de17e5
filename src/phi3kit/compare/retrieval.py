"""How well the right passages are found: hit@k, MRR and nDCG for every way of retrieving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from phi3kit.compare.metrics import same_source
from phi3kit.compare.questions import read_questions
from phi3kit.compare.statistics import Method, interval
from phi3kit.errors import DataError, SettingsError
from phi3kit.rag.retrieve import Mode, open_retriever
from phi3kit.records import Passage, Question, RetrievalMode, RetrievalReport
from phi3kit.settings import Settings

MODES: tuple[Mode, ...] = ("dense", "lexical", "hybrid")
DEPTH = 10  # passages looked at; MRR and nDCG are cut off there

# Our names for the measures of TREC's evaluation tool, in the order of the table.
_MEASURES = {"hit@1": "success_1", "hit@3": "success_3", "hit@5": "success_5",
             "hit@10": "success_10", "MRR@10": "recip_rank", "nDCG@10": "ndcg_cut_10"}


def evaluate_retrieval(settings: Settings) -> RetrievalReport:
    """Every way of retrieving on the questions of `compare.questions`.

    A document is relevant when the question's `source_ids` name it, and is found at the rank
    of its first passage: what is measured is what a prompt of k passages would hold. Measures
    are those of trec_eval (through pytrec_eval, Van Gysel & de Rijke 2018), intervals come
    from the bootstrap over source documents that `compare` uses. `ask.min_similarity` is not
    applied: it decides whether to answer, not what is found.

    Raises:
        SettingsError: no questions are named.
        DataError: the file cannot be read, or no question carries source_ids.
        StoreError: there is no such collection.
    """
    path = settings.compare.questions
    if not path:
        raise SettingsError("no questions are named", where="compare.questions",
                            mend="Give --questions FILE")
    questions = read_questions(Path(path))
    known = [q for q in questions if q.source_ids]
    if not known:
        raise DataError("no question carries source_ids", where=path,
                        mend="Name the documents that hold each answer, for example "
                             '"source_ids": ["manual.md"]')
    method = Method(settings.compare.confidence, settings.compare.resamples,
                    settings.compare.seed)
    clusters = [q.source_ids[0] for q in known]
    values: dict[Mode, list[dict[str, float]]] = {}
    fingerprint = ""
    for mode in MODES:
        retriever = open_retriever(
            replace(settings, ask=replace(settings.ask, retrieval=mode)))
        fingerprint = fingerprint or retriever.fingerprint
        found = retriever.rank([q.question for q in known], DEPTH, -1.0)
        values[mode] = _measured(known, found)
    return RetrievalReport(
        collection=settings.ingest.collection, fingerprint=fingerprint, questions=len(known),
        left_out=len(questions) - len(known), clusters=len(set(clusters)),
        confidence=method.confidence,
        modes=tuple(_mode(mode, values, clusters, method) for mode in MODES))


def _mode(mode: Mode, values: dict[Mode, list[dict[str, float]]], clusters: Sequence[str],
          method: Method) -> RetrievalMode:
    metrics = {name: interval([(c, v[name]) for c, v in zip(clusters, values[mode], strict=True)],
                              method) for name in _MEASURES}
    ahead = None
    if mode != "dense":
        pairs = zip(clusters, values[mode], values["dense"], strict=True)
        ahead = interval([(c, own["nDCG@10"] - dense["nDCG@10"]) for c, own, dense in pairs],
                         method, bounds=(-1.0, 1.0))
    return RetrievalMode(mode, metrics, ahead)


def _measured(questions: Sequence[Question],
              found: Sequence[Sequence[Passage]]) -> list[dict[str, float]]:
    """The measures of each question, in order."""
    import pytrec_eval

    # Numbers stand for the questions, whose own IDs need not be unique across files.
    wanted = {str(i): dict.fromkeys(q.source_ids, 1) for i, q in enumerate(questions)}
    ranked = {str(i): _ranking(q, passages)
              for i, (q, passages) in enumerate(zip(questions, found, strict=True))}
    evaluator: Any = pytrec_eval.RelevanceEvaluator(
        wanted, {"success.1,3,5,10", "recip_rank", "ndcg_cut.10"})
    results = evaluator.evaluate(ranked)
    return [{name: float(results[str(i)][theirs]) for name, theirs in _MEASURES.items()}
            for i in range(len(questions))]


def _ranking(question: Question, passages: Sequence[Passage]) -> dict[str, float]:
    """Document to score; a document's further passages hold their rank and count as misses."""
    ranking: dict[str, float] = {}
    for rank, passage in enumerate(passages, start=1):
        name = next((wanted for wanted in question.source_ids
                     if wanted not in ranking and any(same_source(source, wanted) for source
                                                      in passage.sources or (passage.source,))),
                    f"passage {rank}")
        ranking[name] = 1.0 / rank
    return ranking
