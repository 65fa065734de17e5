"""Retrieval-aware examples: question and passages in, an answer that cites out.

After Zhang et al. 2024, "RAFT: Adapting Language Model to Domain Specific RAG"
(arXiv:2403.10131): passages that do not answer, distractors, stand beside the one that does,
and in some examples only distractors stand there. RAFT keeps the answer in those, so that the
model learns it by heart; ours say that they do not know. That gives up what the model could
recall, and keeps it from learning to answer what its passages do not say, which is what a
cited answer promises.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from phi3kit.dataset.balance import labels
from phi3kit.dataset.check import named_files
from phi3kit.dataset.examples import Example, read_examples
from phi3kit.dataset.forms import Form, read_forms
from phi3kit.dataset.heldout import held_out, without_held_out
from phi3kit.dataset.lines import as_record, json_lines
from phi3kit.dataset.pairs import Pair, as_pair
from phi3kit.dataset.sources import same_source
from phi3kit.errors import DataError
from phi3kit.files import refuse_input, write_named
from phi3kit.parsing import whole_json
from phi3kit.progress import bar
from phi3kit.rag import prompt
from phi3kit.rag.evidence import best_passage
from phi3kit.records import Failure, Message, Passage, RaftReport
from phi3kit.settings import Settings

if TYPE_CHECKING:
    from phi3kit.rag.retrieve import Retriever

_QUERIES = 64  # questions that are embedded at once
# Passages among which the right one and the distractors are looked for.
_DEPTH = 30
# Forms of answers that "[2]" at their end would break.
_READ_BY_PROGRAMS = frozenset({"JSON", "call", "query"})


@dataclass(frozen=True)
class _Found:
    """An example with its passages.

    Attributes:
        shown: what stands in the prompt, best first.
        number: of the passage in `shown` that holds the answer; None where the example
            abstains by itself.
        others: passages that hold no answer to the question, best first.
        added: whether the right passage had to be fetched from below what `ask` shows.
    """

    example: Example
    shown: tuple[Passage, ...]
    number: int | None
    others: tuple[Passage, ...] = ()
    added: bool = False


def raft(settings: Settings, out: Path, *, without: float, force: bool = False) -> RaftReport:
    """Write `finetune.dataset` with retrieved passages to `out`, as messages.

    The prompt is the one that `ask` builds, with the passages that it finds and in their order.
    Where the passage that holds the answer ranks lower, it takes the last place. For `without`
    of the examples every passage that holds the answer is left out, the next ones take their
    places, and the answer becomes "I do not know."; not where it is a label, for that is decided
    from the request and no passage's absence takes it away. An answer that a program reads (JSON, a
    call, a query) stays as it is, without a citation. The same settings, examples and
    collection give the same file.

    Args:
        without: 0 to 1.
        force: replace `out`.

    Raises:
        DataError: the examples cannot be read, none can be given passages, or `out` is there
            or a file that is read.
        StoreError: there is no collection, or it was built with another embedder.
    """
    path, questions = named_files(settings)
    refuse_input(out, path, questions)
    if out.exists() and not force:
        raise DataError("is there already", where=str(out),
                        mend="Choose another --out, or replace it with --force")
    read = read_examples(path)
    kept, leaked = without_held_out(read.examples, held_out(questions), where=str(path))
    failures = [*read.failures, *leaked]
    from phi3kit.rag.retrieve import open_retriever

    found = _look_up(open_retriever(settings), settings, kept, failures, where=str(path))
    if not found:
        raise DataError(f"no example can be given passages; the first: {failures[0].why}",
                        where=failures[0].where)
    label = labels([item.example for item in found])
    able = [at for at, item in enumerate(found)
            if item.number is not None and item.others and not label[at]]
    silent = set(random.Random(settings.finetune.seed).sample(able, round(without * len(able))))
    program = [form.name in _READ_BY_PROGRAMS or whole_json(pair.answer) is not None
               for pair, form in _forms([item.example for item in found])]
    records = [_record(_left_out(item, settings.ask.passages) if at in silent else item,
                       settings.ask.instruction, cite=not program[at])
               for at, item in enumerate(found)]
    write_named(out, json_lines(records), mend="Name another file with --out")
    failures.sort(key=lambda f: int(f.where.rpartition(":")[2]))
    return RaftReport(
        file=str(out), examples=len(records), abstaining=len(silent),
        added=sum(item.added for at, item in enumerate(found) if at not in silent),
        uncited=sum(program[at] and item.number is not None for at, item in enumerate(found)
                    if at not in silent),
        skipped=tuple(failures))


def _forms(examples: Sequence[Example]) -> Sequence[tuple[Pair, Form]]:
    forms = read_forms([as_pair(example) for example in examples])
    return list(zip(forms.pairs, forms.of, strict=True))


def _look_up(retriever: Retriever, settings: Settings, examples: Sequence[Example],
             failures: list[Failure], *, where: str) -> list[_Found]:
    single = []
    for example in examples:
        place = f"{where}:{example.line}"
        if example.question is None:
            failures.append(Failure(place, "a chat of several turns: only single questions get "
                                           "passages"))
        elif example.has_passages:
            failures.append(Failure(place, "it carries passages already"))
        else:
            single.append(example)
    ask = settings.ask
    found: list[_Found] = []
    with bar("retrieving passages", len(single)) as advance:
        for at in range(0, len(single), _QUERIES):
            part = single[at:at + _QUERIES]
            asked = [example.question or "" for example in part]
            shown = retriever.retrieve(asked, ask.passages, ask.min_similarity)
            near = retriever.rank(asked, max(_DEPTH, 2 * ask.passages), -1.0)
            for example, top, more in zip(part, shown, near, strict=True):
                item = _place(example, top, more, ask.passages)
                if isinstance(item, str):
                    failures.append(Failure(f"{where}:{example.line}", item))
                else:
                    found.append(item)
            advance(len(part))
    return found


def _place(example: Example, shown: tuple[Passage, ...], near: Sequence[Passage],
           k: int) -> _Found | str:
    """The example with its passages, or why it gets none."""
    answer = example.messages[-1]["content"]
    question = example.question or ""
    if prompt.is_abstention(answer):
        return _Found(example, shown, None) if shown else (
            "nothing is found for it, and ask then abstains without the model")

    def holds(passage: Passage) -> bool:
        return best_passage(answer, [passage], question) is not None

    def right(passage: Passage) -> bool:
        return holds(passage) and (not example.source_ids or any(
            same_source(source, wanted) for source in passage.sources or (passage.source,)
            for wanted in example.source_ids))

    others = tuple(passage for passage in near if not holds(passage))
    for number, passage in enumerate(shown, start=1):
        if right(passage):
            return _Found(example, shown, number, others)
    fetched = next(filter(right, near), None)
    if fetched is None:
        return "no passage that is found holds the answer's words and numbers"
    shown = (*shown[:k - 1], fetched)
    return _Found(example, shown, len(shown), others, added=True)


def _left_out(item: _Found, k: int) -> _Found:
    """The example with distractors only, and the answer that they allow."""
    answer: Message = {"role": "assistant", "content": prompt.ABSTENTION}
    messages = (*item.example.messages[:-1], answer)
    return _Found(replace(item.example, messages=messages), item.others[:k], None)


def _record(item: _Found, instruction: str, *, cite: bool) -> dict[str, object]:
    example = item.example
    system = instruction if example.system is None else example.system
    turns = prompt.build(example.question or "", item.shown, instruction=system)
    answer = example.messages[-1]["content"]
    if item.number is not None and cite:
        answer = cited(answer, item.number)
    said: Message = {"role": "assistant", "content": answer}
    chunk = None if item.number is None else item.shown[item.number - 1].id
    return as_record(replace(example, messages=(*turns, said)), chunk_id=chunk)


def cited(answer: str, number: int) -> str:
    """`answer` with a citation in front of its full stop: "Every seven days [2]."."""
    text = answer.rstrip()
    stop = text[-1:] if text[-1:] in (".", "!", "?") else ""
    return f"{text.removesuffix(stop)} [{number}]{stop}"
