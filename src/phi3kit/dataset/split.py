"""Examples cut into a part to train on and a part to measure on, by source document."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from phi3kit.dataset.balance import labels
from phi3kit.dataset.examples import Example, read_examples
from phi3kit.dataset.heldout import normalise
from phi3kit.dataset.leakage import numbers
from phi3kit.dataset.lines import as_record, json_lines
from phi3kit.dataset.similar import ALIKE, Near, jaccard
from phi3kit.errors import DataError
from phi3kit.files import refuse_input, write_together
from phi3kit.rag.citations import check
from phi3kit.rag.prompt import is_abstention
from phi3kit.records import DatasetSplit

TRAIN = "train.jsonl"
QUESTIONS = "questions.jsonl"
CHATS = "heldout.jsonl"
_MEND = "Name another folder with --out"


def split(path: Path, out: Path, *, share: float, seed: int, force: bool = False,
          instruction: str = "") -> DatasetSplit:
    """Write `train.jsonl` and the held-out examples into the folder `out`.

    What would give an answer away stays on one side: examples of one source document
    (`source_ids`, `source` or `metadata`), with one prompt, or with nearly the same prompt.
    An example without a source goes by its prompt alone. Held-out examples with a single
    question become `questions.jsonl`, which `compare` reads, without the passages and citations
    that they may have; a system message of their own stands beside them, though `compare` asks all
    with `ask.instruction`. The others, chats of several turns, become `heldout.jsonl`.
    `train.jsonl` is written last: where it stands, the split is whole. Files of an earlier split
    go when all new ones are on the disk.

    Args:
        share: of the examples to train on, above 0 and below 1; met as nearly as whole groups
            allow, in each kind and label.
        force: replace the files of an earlier split.
        instruction: that `compare` will ask with; other system messages are counted.

    Raises:
        DataError: the file cannot be read, its examples all belong together, or a file is
            there already, cannot be written or is the one that is read.
    """
    read = read_examples(path)
    files = [out / name for name in (TRAIN, QUESTIONS, CHATS)]
    for file in files:
        refuse_input(file, path)
    there = [file for file in files if file.exists()]
    if there and not force:
        raise DataError("is there already", where=str(there[0]),
                        mend="Choose another --out, or replace it with --force")
    examples = read.examples
    if not examples:
        raise DataError(f"no usable example; the first: {read.failures[0].why}",
                        where=read.failures[0].where)
    groups = together(examples)
    if len(groups) < 2:
        raise DataError("all examples belong together, by source or prompt: there is nothing to "
                        "hold out", where=str(path), mend="Name the documents that each example "
                        "comes from in source_ids, or hold questions out by hand")
    strata = _strata(examples)
    train = choose(groups, strata, share=share, seed=seed)
    held = [at for at in range(len(examples)) if at not in train]
    written = _held_out([examples[at] for at in held], out)
    rows = json_lines(as_record(examples[at]) for at in sorted(train))
    write_together({**written, out / TRAIN: rows}, instead_of=there, mend=_MEND)
    by_kind = Counter(strata)
    asked = [examples[at] for at in held if examples[at].question is not None]
    systems = [e.system for e in asked if e.system is not None and e.system != instruction]
    return DatasetSplit(
        source=str(path), train=len(train), held_out=len(held), groups=len(groups),
        by_kind={kind: (n := sum(strata[at] == kind for at in train), by_kind[kind] - n)
                 for kind in sorted(by_kind)},
        without_source=sum(not example.source_ids for example in examples),
        files=(str(out / TRAIN), *map(str, written)), skipped=read.failures,
        own_system=len(systems), systems=len(set(systems)))


def together(examples: Sequence[Example]) -> list[list[int]]:
    """Indices of examples that have to stay on one side, group by group, in order.

    Prompts are nearly the same when their words are 0.8 alike (Jaccard) and their numbers
    are the same.
    """
    parent = list(range(len(examples)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    def join(keys: Iterable[tuple[int, Hashable]]) -> None:
        first: dict[Hashable, int] = {}
        for at, key in keys:
            parent[root(at)] = root(first.setdefault(key, at))

    prompts = ["\n".join(example.asked) for example in examples]
    join((at, source) for at, e in enumerate(examples) for source in e.source_ids)
    join((at, normalise(prompt)) for at, prompt in enumerate(prompts))
    words = [set(normalise(prompt).split()) for prompt in prompts]
    index = Near(words)
    for at in range(len(examples)):
        for other in index.candidates(at):
            if (root(at) != root(other) and jaccard(words[at], words[other]) >= ALIKE
                    and numbers(prompts[at]) == numbers(prompts[other])):
                parent[root(at)] = root(other)
        index.insert(at)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for at in range(len(examples)):
        groups[root(at)].append(at)
    return sorted(groups.values())


def choose(groups: Sequence[Sequence[int]], strata: Sequence[str], *, share: float,
           seed: int) -> set[int]:
    """Indices to train on: whole groups, so that each stratum gives about its share.

    The largest groups first, each to the side that leaves the strata, together and each for
    itself, nearer to `share`; groups of one size in an order that the seed gives. Neither side
    stays empty.

    Args:
        groups: at least two.
        strata: of every example, its kind and label.
    """
    order = [list(group) for group in groups]
    random.Random(seed).shuffle(order)
    order.sort(key=len, reverse=True)
    total = Counter(strata)
    seen: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    sides: list[tuple[list[int], bool]] = []
    for group in order:
        here = Counter(strata[at] for at in group)
        seen += here

        wanted = {stratum: share * count for stratum, count in seen.items()}
        train = _off(trained + here, wanted, total) <= _off(trained, wanted, total)
        if train:
            trained += here
        sides.append((group, train))
    if len({train for _, train in sides}) == 1:
        # The smallest group, which came last, goes to the other side.
        sides[-1] = sides[-1][0], not sides[-1][1]
    return {at for group, train in sides if train for at in group}


def _off(taken: Mapping[str, float], wanted: Mapping[str, float],
         total: Mapping[str, int]) -> float:
    """How far the strata, and all together, are from what is wanted; squares by their size."""
    apart = sum((taken.get(k, 0) - wanted[k]) ** 2 / total[k] for k in wanted)
    return apart + (sum(taken.values()) - sum(wanted.values())) ** 2 / sum(total.values())


def _strata(examples: Sequence[Example]) -> list[str]:
    return [" / ".join(filter(None, (example.kind, label)))
            for example, label in zip(examples, labels(examples), strict=True)]


def _held_out(examples: Sequence[Example], out: Path) -> dict[Path, str]:
    """The files of the held-out examples, and what they hold."""
    single = [e for e in examples if e.question is not None]
    others = [e for e in examples if e.question is None]
    files = {}
    if single:
        files[out / QUESTIONS] = json_lines(map(_question, single))
    if others:
        files[out / CHATS] = json_lines(map(as_record, others))
    return files


def _question(example: Example) -> dict[str, Any]:
    [asked], answer = example.asked, example.messages[-1]["content"].strip()
    if example.has_passages:  # `compare` finds its own: the cited numbers would be of others
        answer = check(answer, ()).text
    answerable = not is_abstention(answer)
    # The line in the original file: the same whatever else is held out.
    record = {"id": f"line-{example.line}", "question": asked,
              "answers": [answer] if answerable else [], "source_ids": list(example.source_ids),
              "answerable": answerable, "kind": example.kind}
    return record if example.system is None else {**record, "system": example.system}
