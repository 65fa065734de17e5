"""How well the right passages are found: hit@k, MRR and nDCG for every way of retrieving."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from phi3kit.compare.beir import Beir, collect, read_beir
from phi3kit.compare.intervals import Method, interval
from phi3kit.compare.questions import read_questions
from phi3kit.compare.statistics import paired_p
from phi3kit.dataset.sources import same_source
from phi3kit.errors import DataError, SettingsError
from phi3kit.files import composed
from phi3kit.ingest.site import site_of
from phi3kit.ingest.swap import sources
from phi3kit.progress import note
from phi3kit.rag.retrieve import Mode, Retriever, open_retriever
from phi3kit.records import (
    Interval,
    ModeDifference,
    Passage,
    Question,
    RetrievalMode,
    RetrievalReport,
)
from phi3kit.settings import Settings

MODES: tuple[Mode, ...] = ("dense", "lexical", "hybrid")
DEPTH = 10  # places of a ranking that are looked at; MRR and nDCG are cut off there
# Passages that are asked for where documents are ranked: several may be of one document.
_PASSAGES = 3 * DEPTH

# Our names for the measures of TREC's evaluation tool, in the order of the table.
_MEASURES = {"hit@1": "success_1", "hit@3": "success_3", "hit@5": "success_5",
             "hit@10": "success_10", "recall@10": "recall_10", "MRR@10": "recip_rank",
             "nDCG@10": "ndcg_cut_10"}


@dataclass(frozen=True, slots=True)
class _Task:
    """What is asked, and what should be found.

    Attributes:
        wanted: for each question, grades (1 and up) of what should be found, by name.
        clusters: the document that each question counts to.
        depth: passages that are asked for.
        ranking: of the question at an index and its passages, name to falling score.
        unit: what is ranked.
    """

    questions: Sequence[str]
    wanted: Sequence[Mapping[str, int]]
    clusters: Sequence[str]
    left_out: int
    depth: int
    ranking: Callable[[int, Sequence[Passage]], dict[str, float]]
    unit: str


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
    found = _evaluate(settings, _Task(
        questions=[q.question for q in known],
        wanted=[dict.fromkeys(q.source_ids, 1) for q in known],
        clusters=[q.source_ids[0] for q in known], left_out=len(questions) - len(known),
        depth=DEPTH, ranking=lambda at, found: _ranking(known[at], found), unit="passages"))
    wanted = settings.ingest
    _tell_lacking(known, sources(site_of(wanted.store), wanted.collection), path)
    return found


def _tell_lacking(known: Sequence[Question], held: Iterable[str], path: str) -> None:
    """Say which documents cannot be found: a name that is spelt otherwise looks like a miss."""
    by_name: dict[str, list[str]] = {}
    for source in held:
        by_name.setdefault(composed(source).rpartition("/")[2], []).append(source)
    wanted = {name for question in known for name in question.source_ids}
    lacking = sorted(name for name in wanted if not any(
        same_source(source, name)
        for source in by_name.get(composed(name).replace("\\", "/").rpartition("/")[2], ())))
    if lacking:
        note(f"{path}: {len(lacking)} of the {len(wanted)} documents that source_ids name are not "
             f"in the collection, such as '{lacking[0]}'; they count as not found")


def evaluate_beir(settings: Settings, folder: Path) -> RetrievalReport:
    """Every way of retrieving on a collection in BEIR's layout (Thakur et al. 2021).

    Its documents are brought into a collection of their own, which costs nothing the second
    time. Documents are ranked, each at its best passage, against graded judgements; the gain
    of nDCG is the grade, as in trec_eval. A document with the ID of the query, which it then
    is itself, is not ranked unless it is judged relevant (BEIR's `ignore_identical_ids`).

    Raises:
        DataError: a file is missing or wrong; names file and line.
        SettingsError, StoreError, ModelError: as `ingest` would.
    """
    given = read_beir(folder)
    inside, name_of = collect(settings, given)
    return _evaluate(inside, _of_documents(given, name_of))


def _of_documents(given: Beir, name_of: Callable[[str], str]) -> _Task:
    asked = [query for query in given.queries if query in given.relevant]
    skipped: set[str] = set()

    def ranking(at: int, found: Sequence[Passage]) -> dict[str, float]:
        documents = dict.fromkeys(name_of(source) for passage in found
                                  for source in passage.sources or (passage.source,))
        own = asked[at]
        if own in documents and own not in given.relevant[own]:
            del documents[own]
            if not skipped:
                note(f"documents with the ID of the query are not ranked, such as '{own}', as "
                     "in BEIR's own evaluation")
            skipped.add(own)
        return {document: 1.0 / rank for rank, document
                in enumerate(itertools.islice(documents, DEPTH), start=1)}

    wanted = [given.relevant[query] for query in asked]
    return _Task(
        questions=[given.queries[query] for query in asked], wanted=wanted,
        # The document that is most relevant; of several, the first by name.
        clusters=[min(grades, key=lambda name: (-grades[name], name)) for grades in wanted],
        left_out=len(given.queries) - len(asked), depth=_PASSAGES, ranking=ranking,
        unit="documents")


def _evaluate(settings: Settings, task: _Task) -> RetrievalReport:
    method = Method(settings.compare.confidence, settings.compare.resamples,
                    settings.compare.seed)
    values: dict[Mode, list[dict[str, float]]] = {}
    fingerprint = ""
    for mode in MODES:
        retriever = open_retriever(
            replace(settings, ask=replace(settings.ask, retrieval=mode)))
        fingerprint = fingerprint or retriever.fingerprint
        values[mode] = _measured(task.wanted, _rankings(retriever, task))
    return RetrievalReport(
        collection=settings.ingest.collection, fingerprint=fingerprint,
        questions=len(task.questions), left_out=task.left_out,
        clusters=len(set(task.clusters)), confidence=method.confidence, unit=task.unit,
        modes=tuple(RetrievalMode(mode, {
            name: interval([(c, v[name]) for c, v
                            in zip(task.clusters, values[mode], strict=True)], method)
            for name in _MEASURES}) for mode in MODES),
        differences=_differences(values, task.clusters, method))


def _rankings(retriever: Retriever, task: _Task) -> list[dict[str, float]]:
    """The ranking of each question, of DEPTH places where the collection has that many.

    Of long documents the first passages may be of a few alone: then more are asked for.
    """
    rankings: list[dict[str, float]] = [{} for _ in task.questions]
    short, depth = list(range(len(rankings))), task.depth
    while short:
        found = retriever.rank([task.questions[at] for at in short], depth, -1.0)
        for at, passages in zip(short, found, strict=True):
            rankings[at] = task.ranking(at, passages)
        short = [at for at, passages in zip(short, found, strict=True)
                 if len(rankings[at]) < DEPTH and len(passages) >= depth]
        depth *= 2
    return rankings


def _differences(values: Mapping[Mode, Sequence[Mapping[str, float]]], clusters: Sequence[str],
                 method: Method) -> tuple[ModeDifference, ...]:
    """nDCG@10 of every pair of modes, p-values Holm-adjusted over the pairs."""
    from statsmodels.stats.multitest import multipletests

    pairs = [(mode, other) for other, mode in itertools.combinations(MODES, 2)]
    paired = [[(c, own["nDCG@10"] - theirs["nDCG@10"]) for c, own, theirs
               in zip(clusters, values[mode], values[other], strict=True)]
              for mode, other in pairs]
    adjusted = multipletests([paired_p(each, method) for each in paired], method="holm")[1]
    found = [interval(each, method, bounds=(-1.0, 1.0)) for each in paired]
    return tuple(
        ModeDifference(mode, other, each, float(p), verdict_of(each, p, method.confidence))
        for (mode, other), each, p in zip(pairs, found, adjusted, strict=True))


def verdict_of(difference: Interval, p: float, confidence: float) -> str:
    """In words, whether a difference is more than noise.

    The bootstrap interval alone finds one too easily among few documents, where `p` cannot be
    small.

    Args:
        difference: with its interval.
        p: two-sided, that it is zero.
        confidence: 0 to 1, of the interval.
    """
    if p >= 1 - confidence or difference.low <= 0 <= difference.high:
        return "no difference shown"
    return "better" if difference.low > 0 else "worse"


def _measured(wanted: Sequence[Mapping[str, int]],
              rankings: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """The measures of each question, in order."""
    import pytrec_eval

    # Numbers stand for the questions, whose own IDs need not be unique across files.
    evaluator: Any = pytrec_eval.RelevanceEvaluator(
        {str(at): dict(grades) for at, grades in enumerate(wanted)},
        {"success.1,3,5,10", "recall.10", "recip_rank", "ndcg_cut.10"})
    results = evaluator.evaluate({str(at): dict(ranking) for at, ranking in enumerate(rankings)})
    return [{name: float(results[str(at)][theirs]) for name, theirs in _MEASURES.items()}
            for at in range(len(wanted))]


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
