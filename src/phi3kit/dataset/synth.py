"""Question/answer pairs from the collection: a model writes them, filters judge them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from phi3kit import __version__
from phi3kit.dataset.closed_book import failed, gives, open_base
from phi3kit.dataset.heldout import read_held_out
from phi3kit.dataset.leakage import Asked
from phi3kit.dataset.lines import json_lines
from phi3kit.dataset.staged import Staged
from phi3kit.dataset.writing import ask_for_pair, read_pair
from phi3kit.errors import DataError, ModelError, StoreError
from phi3kit.files import refuse_input, write_named
from phi3kit.progress import bar, note
from phi3kit.rag import prompt
from phi3kit.rag.evidence import best_passage
from phi3kit.records import Message, Passage, SynthReport
from phi3kit.settings import Settings

FILTERS = ("not parseable", "answer not in the passage", "asked before or held out",
           "not answered right with the passage", "answered right without the passage")
"""Why a pair is dropped, in the order in which the filters are asked."""

_BATCH = 8  # passages; after each batch the rows are on the disk
_ROUNDS = 3  # questions that a passage is asked for, at most
_WRITING = 96  # tokens of a question and its answer


def synth(settings: Settings, out: Path, *, count: int, force: bool = False) -> SynthReport:
    """Write up to `count` pairs about the collection's passages to `out`, with their sources.

    A pair is kept when it parses, its answer's words and numbers stand in the passage, no
    question was asked before or is held out (nor nearly the same), the model gives the answer
    when it sees the passage, and does not give it when it does not. What each filter dropped is
    counted. Each attempt is put down in `<out>.rows` at once; after an interruption the same
    command goes on there, and a larger `count` needs only the rest.

    Raises:
        DataError: `out` or rows of other settings are there or cannot be written, or `out` holds
            the held-out questions.
        StoreError: there is no collection, or nothing in it.
        ModelError: the model cannot be loaded or reached, or answers nothing at all.
    """
    questions = settings.compare.questions
    refuse_input(out, Path(questions) if questions else None)
    if out.exists() and not force:
        raise DataError("is there already", where=str(out),
                        mend="Choose another --out, or replace it with --force")
    passages, index = _passages(settings)
    staged = Staged(out.with_name(out.name + ".rows"), _identity(settings, index))
    writer = _Writer(settings, passages, staged)
    reused = len(staged.rows)
    try:
        _write(writer, staged, count)
    except (KeyboardInterrupt, ModelError, DataError):
        note(f"{len(staged.rows):,} attempts are in {staged.path}; the same command goes on there")
        raise
    kept = writer.kept[:count]
    if kept:
        write_named(out, json_lines(
            {"question": row["question"], "answer": row["answer"],
             "source_ids": [row["source"]], "chunk_id": row["chunk_id"]} for row in kept),
            mend="Name another file with --out")
    else:
        out.unlink(missing_ok=True)  # --force: what stood there no longer holds
    dropped = Counter(row["dropped"] for row in staged.rows)
    return SynthReport(file=str(out), pairs=len(kept), wanted=count, tried=len(staged.rows),
                       dropped={why: dropped[why] for why in FILTERS}, reused=reused,
                       failed=writer.failed)


def _write(writer: _Writer, staged: Staged, count: int) -> None:
    with bar("writing pairs", count) as advance:
        advance(min(count, len(writer.kept)))
        for batch in writer.batches():
            before = len(writer.kept)
            if before >= count:
                break
            writer.write(batch)
            advance(min(count, len(writer.kept)) - before,
                    f"{len(staged.rows)} tried, {len(writer.kept)} hold")


class _Writer:
    """Writes and judges a batch of pairs at a time; its rows are all that it knows."""

    def __init__(self, settings: Settings, passages: Sequence[Passage], staged: Staged) -> None:
        self._settings = settings
        self._passages = passages
        self._staged = staged
        questions = settings.compare.questions
        self._asked = Asked(held.question for held in read_held_out(
            Path(questions) if questions else None))
        for row in staged.rows:  # of an earlier call, perhaps with fewer questions held out
            if not row["dropped"] and self._asked.knows(row["question"]):
                row["dropped"] = FILTERS[2]
        for row in staged.rows:
            if row["dropped"] not in FILTERS[:3]:
                self._asked.add(row["question"])
        self._generator: Any = None
        self.failed = 0  # attempts that the model could not be asked about

    @property
    def kept(self) -> list[dict[str, Any]]:
        """The rows that passed every filter, in the order in which they were written."""
        return [row for row in self._staged.rows if not row["dropped"]]

    def batches(self) -> Iterator[list[tuple[Passage, int]]]:
        """What was not tried yet: each passage once, then a second and a third time."""
        done = {(row["chunk_id"], row["round"]) for row in self._staged.rows}
        for turn in range(_ROUNDS):
            left = [(passage, turn) for passage in self._passages
                    if (passage.id, turn) not in done]
            for at in range(0, len(left), _BATCH):
                yield left[at:at + _BATCH]

    def write(self, batch: Sequence[tuple[Passage, int]]) -> None:
        """Try every passage of `batch` and put down those rows that the model spoke to."""
        asked = [ask_for_pair(passage, self._about(passage)) for passage, _ in batch]
        rows = [{"chunk_id": passage.id, "round": turn, "source": passage.source,
                 "question": "", "answer": "", "dropped": ""} for passage, turn in batch]
        texts = self._generate(asked, _WRITING)
        rows = [{**row, **self._read(text, passage)} for row, text, (passage, _)
                in zip(rows, texts, batch, strict=True) if text is not None]
        shown = {passage.id: passage for passage, _ in batch}
        instruction = self._settings.ask.instruction
        rows = self._judged(rows, FILTERS[3], wanted=True, ask=lambda row: prompt.build(
            row["question"], [shown[row["chunk_id"]]], instruction=instruction))
        rows = self._judged(rows, FILTERS[4], wanted=False, ask=lambda row: prompt.build(
            row["question"], None, instruction=instruction))
        self.failed += len(batch) - len(rows)
        self._staged.append(rows)

    def _read(self, text: str, passage: Passage) -> dict[str, Any]:
        """Question and answer; why the pair is dropped before any model judges it."""
        pair = read_pair(text)
        if pair is None:
            return {"dropped": FILTERS[0]}
        dropped = ""
        if best_passage(pair[1], [passage], pair[0]) is None:
            dropped = FILTERS[1]
        elif self._asked.knows(pair[0]):
            dropped = FILTERS[2]
        else:
            self._asked.add(pair[0])
        return {"question": pair[0], "answer": pair[1], "dropped": dropped}

    def _judged(self, rows: Sequence[dict[str, Any]], why: str, *, wanted: bool,
                ask: Callable[[dict[str, Any]], list[Message]]) -> list[dict[str, Any]]:
        """The rows; dropped, for `why`, if not answered as `wanted`: right, or not right.

        A row whose question could not be put is missing: a later call tries it again.
        """
        left = [at for at, row in enumerate(rows) if not row["dropped"]]
        texts = dict(zip(left, self._generate([ask(rows[at]) for at in left],
                                              self._settings.ask.max_new_tokens), strict=True))
        judged = []
        for at, row in enumerate(rows):
            text = texts.get(at, "")
            if text is None:
                continue
            right = at in texts and gives(text, row["answer"])
            judged.append({**row, "dropped": why} if at in texts and right != wanted else row)
        return judged

    def _generate(self, prompts: Sequence[list[Message]], tokens: int) -> list[str | None]:
        """The answers; None for one that failed.

        Raises:
            ModelError: several were asked for and all failed: going on would fail alike.
        """
        if not prompts:
            return []
        if self._generator is None:  # not before there is something to write
            self._generator = open_base(self._settings)
        answers = self._generator.generate(prompts, max_new_tokens=tokens,
                                           batch_tokens=self._settings.compare.batch_tokens)
        if len(answers) > 1 or not self._staged.rows:
            failed(answers)
        return [None if answer.error else answer.text for answer in answers]

    def _about(self, passage: Passage) -> list[str]:
        return [row["question"] for row in self._staged.rows
                if row["chunk_id"] == passage.id and row["question"]]


def _passages(settings: Settings) -> tuple[list[Passage], str]:
    """Every passage of the collection in an order that the seed gives, and its identity."""
    from phi3kit.ingest.site import site_of
    from phi3kit.ingest.store import open_store

    own = settings.ingest
    store = open_store(site_of(own.store), own.collection)
    passages = sorted(store.passages(), key=lambda p: (p.source, p.start, p.id))
    if not passages:
        raise StoreError("the collection is empty", where=f"{own.store}, collection "
                         f"'{own.collection}'", mend="Run phi3kit ingest on your documents")
    random.Random(settings.finetune.seed).shuffle(passages)
    return passages, store.fingerprint


def _identity(settings: Settings, index: str) -> dict[str, Any]:
    """What the rows depend on: with another of these they would be others."""
    return {"phi3kit": __version__, "index": index, "model": settings.model.name,
            "revision": settings.model.revision, "endpoint": settings.model.endpoint,
            "instruction": settings.ask.instruction,
            "max_new_tokens": settings.ask.max_new_tokens, "seed": settings.finetune.seed}
