"""How many examples there are, and the faults that can be seen without understanding them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from phi3kit.advise.measure.findings import Findings, found, nothing
from phi3kit.dataset.copies import contradictions, near_copies
from phi3kit.dataset.pairs import Dataset, Pair
from phi3kit.parsing import read_json

LOW = 0.1  # of the examples are at fault, and the quality is low
MEDIUM = 0.02
LOW_REPEATED = 0.5  # of the examples repeat another
MEDIUM_REPEATED = 0.2
_LEAST = 10  # examples
_PROSE = 12  # words; shorter answers often do without a full stop
_HABIT = 0.8  # of the answers: what most do, few lack by intent
_ENDS = re.compile(r"[.!?…:;)\]}>\"'”’»`|*。！？]\s*$")
_ITEM = re.compile(r"^\s+|^[-*•]|\b\d+[.)] |->|[=|{}]")


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
    contradictory = [other is not None for other in contradictions(pairs)]
    return Faults(
        total=dataset.usable + len(dataset.failures), unusable=len(dataset.failures),
        contradictory=sum(contradictory), cut_off=sum(cut_off(pairs)),
        copies=dataset.usable - len(pairs),
        near_copies=sum(near is not None and not wrong for near, wrong
                        in zip(near_copies(pairs), contradictory, strict=True)))


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
        read_json(text)
    except ValueError:
        return False
    return True
