"""How many examples there are, and the faults that can be seen without understanding them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from phi3kit.advise.measure.findings import Findings, found, nothing
from phi3kit.advise.measure.pairs import Dataset, Pair, normal

LOW = 0.1  # of the examples are at fault, and the quality is low
MEDIUM = 0.02
LOW_REPEATED = 0.5  # of the examples repeat another
MEDIUM_REPEATED = 0.2
_ALIKE = 0.8  # Jaccard similarity
_LEAST = 10  # examples
_CANDIDATE = 0.7  # estimated; the hashes miss some pairs, which are looked for lower
_PERMUTATIONS = 128
_SEED = 1
_PROSE = 12  # words; shorter answers often do without a full stop
_HABIT = 0.8  # of the answers: what most do, few lack by intent
_LONG = 20  # words; two longer answers may say the same differently
_ENDS = re.compile(r"[.!?…:;)\]}>\"'”’»`|*。！？]\s*$")
_ITEM = re.compile(r"^\s+|^[-*•]|\b\d+[.)] |->|[=|{}]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def training_examples(dataset: Dataset) -> Findings:
    """`training_examples`: the usable examples, exact copies counted once.

    Copies have the same turns but for blanks.
    """
    copies = dataset.usable - len(dataset.pairs)
    how = f"{len(dataset.pairs):,} different examples in {dataset.usable:,} usable ones"
    how += f", {copies:,} of them exact copies" if copies else ""
    if dataset.failures:
        first = dataset.failures[0]
        how += (f"; {len(dataset.failures):,} more cannot be used, the first at {first.where}: "
                f"{first.why.rstrip('.')}")
    return found("training_examples", len(dataset.pairs), how)


@dataclass(frozen=True, slots=True)
class Faults:
    """Examples by fault, among `total`, the usable and the unusable ones."""

    total: int
    unusable: int
    contradictory: int
    cut_off: int
    copies: int
    near_copies: int

    @property
    def wrong(self) -> float:
        """The share that teaches nothing or something wrong; copies dilute nothing."""
        return (self.unusable + self.contradictory + self.cut_off) / (self.total - self.copies)

    @property
    def repeated(self) -> float:
        """The share that repeats another example."""
        return (self.copies + self.near_copies) / self.total


def dataset_quality(dataset: Dataset) -> Findings:
    """`dataset_quality`: low or medium where faults are found, else no answer.

    Low when 10% of the different examples or more are at fault (cannot be read or used, contradict
    another one, or have an answer that breaks off), or when 50% repeat another; medium
    from 2% at fault or 20% repeated. These limits are set by hand. Without such faults
    examples can still be wrong or badly written, so their absence proves no quality.
    """
    faults = find_faults(dataset)
    if faults.total < _LEAST:
        return nothing("dataset_quality", f"{faults.total} examples are too few to judge")
    told = (f"of {faults.total:,} examples {faults.unusable:,} cannot be used, "
            f"{faults.contradictory:,} contradict another, {faults.cut_off:,} break off, "
            f"{faults.copies:,} are exact and {faults.near_copies:,} near copies")
    if faults.wrong >= LOW or faults.repeated >= LOW_REPEATED:
        return found("dataset_quality", "low", told)
    if faults.wrong >= MEDIUM or faults.repeated >= MEDIUM_REPEATED:
        return found("dataset_quality", "medium", told)
    return nothing("dataset_quality", f"{told}; that speaks against nothing, and only reading "
                                      "them tells whether the answers are good")


def find_faults(dataset: Dataset) -> Faults:
    """Count what is visibly wrong; see `Faults`."""
    pairs = dataset.pairs
    contradictory = contradictions(pairs)
    return Faults(
        total=dataset.usable + len(dataset.failures), unusable=len(dataset.failures),
        contradictory=sum(contradictory), cut_off=sum(cut_off(pairs)),
        copies=dataset.usable - len(pairs),
        near_copies=sum(near and not wrong for near, wrong
                        in zip(near_copies(pairs), contradictory, strict=True)))


def contradictions(pairs: Sequence[Pair]) -> list[bool]:
    """Whether another pair has the same request and a different answer.

    Requests are the same but for case, blanks and punctuation. Short answers differ when
    less than 0.8 (Jaccard) of their words agree or their numbers differ; of longer ones
    only the numbers are compared, for the same can be said in other words.
    """
    asked: defaultdict[str, list[int]] = defaultdict(list)
    for at, pair in enumerate(pairs):
        asked[normal(pair.request)].append(at)
    wrong = [False] * len(pairs)
    for group in asked.values():
        variants = [pairs[at].answer for at in {normal(pairs[at].answer): at
                                                for at in group}.values()]
        for at in group:
            # Fifty, lest a file with one request for all examples take for ever.
            wrong[at] = any(_differ(pairs[at].answer, other) for other in variants[:50])
    return wrong


def _differ(one: str, other: str) -> bool:
    if set(_NUMBER.findall(one)) != set(_NUMBER.findall(other)):
        return True
    first, second = set(normal(one).split()), set(normal(other).split())
    if max(len(first), len(second)) > _LONG:
        return False
    return jaccard(first, second) < _ALIKE


def cut_off(pairs: Sequence[Pair]) -> list[bool]:
    """Whether an answer breaks off.

    Prose without a final stop, if 80% of the prose here have one; an answer that begins
    like JSON and is none, if 80% of those that begin so are. Prose is what ends in a line
    of 12 words or more that is no item of a list.
    """
    prose = [at for at, pair in enumerate(pairs) if _ends_in_prose(pair.answer)]
    ended = {at for at in prose if _ENDS.search(pairs[at].answer)}
    begun = [at for at, pair in enumerate(pairs) if _begins_json(pair.answer)]
    parsed = {at for at in begun if _parses(pairs[at].answer)}
    broken = set[int]()
    if len(ended) >= _HABIT * len(prose):
        broken.update(set(prose) - ended)
    if len(parsed) >= _HABIT * len(begun):
        broken.update(set(begun) - parsed)
    return [at in broken for at in range(len(pairs))]


def _ends_in_prose(text: str) -> bool:
    last = text.rstrip().rpartition("\n")[2]
    return (len(last.split()) >= _PROSE and not _ITEM.search(last)
            and not _begins_json(text))


def _begins_json(text: str) -> bool:
    return text.lstrip()[:2].startswith(("{", '["', "[{"))


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def near_copies(pairs: Sequence[Pair]) -> list[bool]:
    """Whether a pair nearly repeats one before it (in the order of their texts).

    Request and answer are at least 0.8 alike each: the Jaccard similarity of their sets of
    words, and of runs of three words. Candidates come from MinHash with locality-sensitive
    hashing (datasketch) and are then compared themselves.
    """
    from datasketch import MinHash, MinHashLSH

    shingles = [_shingles(pair.request) for pair in pairs]
    encoded = ([run.encode("utf-8", "surrogatepass") for run in sorted(found)]
               for found in shingles)
    hashes = MinHash.bulk(encoded, num_perm=_PERMUTATIONS, seed=_SEED)
    index = MinHashLSH(threshold=_CANDIDATE, num_perm=_PERMUTATIONS)
    near = []
    for at, minhash in enumerate(hashes):
        # Only those that repeat nothing are kept: a template's thousand copies would
        # otherwise be compared with each other.
        alike = shingles[at] and any(
            jaccard(shingles[at], shingles[other]) >= _ALIKE
            and _same(pairs[at].answer, pairs[other].answer)
            for other in sorted(index.query(minhash)))
        near.append(bool(alike))
        if shingles[at] and not alike:
            index.insert(at, minhash)
    return near


def _same(one: str, other: str) -> bool:
    return (set(_NUMBER.findall(one)) == set(_NUMBER.findall(other))
            and jaccard(set(normal(one).split()), set(normal(other).split())) >= _ALIKE)


def _shingles(text: str) -> set[str]:
    words = normal(text).split()
    return {" ".join(words[at:at + 3]) for at in range(max(1, len(words) - 2))} if words else set()


def jaccard(one: set[str], other: set[str]) -> float:
    """Shared over all members; 1 when both are empty."""
    return len(one & other) / len(one | other) if one or other else 1.0
