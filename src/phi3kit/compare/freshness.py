"""Change documents, ingest them into a copy of the collection, and ask every arm again.

Neither the user's documents nor their collection is written to: the copy lies in the run
folder while it is needed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from phi3kit.compare.arms import (
    answer,
    assert_same,
    conditions,
    contestants,
    open_bench,
)
from phi3kit.compare.edits import Edits, choose
from phi3kit.compare.intervals import Method
from phi3kit.compare.kept import FRESHNESS, read_kept
from phi3kit.compare.leakage import training_run
from phi3kit.compare.metrics import closed_kinds
from phi3kit.compare.outcomes import freshness_of
from phi3kit.compare.rows import RowFile
from phi3kit.compare.sheets import Sheet
from phi3kit.compare.tuned import TUNED
from phi3kit.errors import DataError, RunError, StoreError
from phi3kit.files import sha256_bytes, write_json
from phi3kit.ingest.manifest import read_state
from phi3kit.ingest.readers import read_document, supported
from phi3kit.progress import bar, note
from phi3kit.records import Freshness, as_json
from phi3kit.runs import read_run
from phi3kit.settings import Settings

if TYPE_CHECKING:
    from phi3kit.compare.task import Task

_COPY = ".freshness-"
_RECORD = "record"
# Which facts are edited is drawn alike whatever seed the statistics have: the answers stay good.
_DRAW = 0


def measure_freshness(task: Task, run: Path,
                      shared: Mapping[str, Any]) -> Freshness | None:
    """Measure it and write it into the run folder; None where it is not wanted, or cannot be.

    Answers are saved as they are made, in a file named by the edits' hash, and what ingesting
    the edits took in freshness.json: an interrupted measurement goes on, and edits that were
    asked about once are not asked about again. An arm with several training seeds answers with
    its first adapter.

    Args:
        task: its settings say how many facts are edited.
        run: the run folder.
        shared: the conditions that the arms had.

    Raises:
        StoreError, ModelError: the copy or the model cannot be opened.
        RunError: the collection was changed since the arms answered, other conditions than
            they had, or saved answers that are damaged.
    """
    wanted = task.settings.compare
    kept = read_kept(run, FRESHNESS)
    if kept.pop(_RECORD, None) is not None:  # it is of edits that may not be wanted now
        write_json(run / FRESHNESS, kept)
    if not wanted.freshness:
        return None
    for left in run.glob(f"{_COPY}*"):  # of one that was killed
        shutil.rmtree(left)
    edits = choose(task.questions, _Texts(_sources(task.settings)), closed_kinds(task.questions),
                   facts=wanted.freshness, seed=_DRAW)
    if len(edits.facts) < wanted.freshness:
        note(f"freshness: {len(edits.facts)} facts can be edited soundly, of the "
             f"{wanted.freshness} wanted")
    if not edits.facts:
        return None
    key = _key(edits)
    answers = run / f"freshness-{key}.jsonl"
    if key not in kept:  # answers without their note are not known to be of these arms
        answers.unlink(missing_ok=True)
        kept[key] = {}
        write_json(run / FRESHNESS, kept)
    sheet = Sheet("changed facts, ", contestants(task.arms),
                  tuple(replace(edit.question, answers=edit.answers) for edit in edits.facts),
                  RowFile(answers))
    took: dict[str, float] = kept[key]
    if not took or any(sheet.missing().values()):
        with _copied(task.settings, run) as (settings, folder):
            took = _ingested(settings, edits, folder / "documents")
            _ask(task, settings, sheet, shared)
    found = freshness_of(
        sheet.rows(), edits.facts, contestants(task.arms),
        Method(wanted.confidence, wanted.resamples, wanted.seed),
        chunks=int(took["chunks"]), seconds=took["seconds"], tune_seconds=_tune_seconds(task))
    write_json(run / FRESHNESS, {**kept, key: took, _RECORD: as_json(found)})
    return found


class _Texts(Mapping[str, str]):
    """The text of documents by source, each read when it is first asked for.

    One that is gone, or cannot be read any more, has no text and so no facts.
    """

    def __init__(self, sources: tuple[str, ...]) -> None:
        self._sources = sources
        self._read: dict[str, str] = {}

    def __getitem__(self, source: str) -> str:
        if source not in self._read:
            self._read[source] = _text(Path(source))
        return self._read[source]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def _text(path: Path) -> str:
    try:
        return read_document(path, path.read_bytes()).text if supported(path) else ""
    except (OSError, DataError):
        return ""


def _sources(settings: Settings) -> tuple[str, ...]:
    """The documents of the collection, as ingest noted them: opening it would write to it."""
    wanted = settings.ingest
    state = read_state(Path(wanted.store) / f"{wanted.collection}.state.json")
    if state is None:
        raise StoreError("what it holds is not noted beside it", where=wanted.store,
                         mend="Run phi3kit ingest again, which notes it")
    return tuple(sorted(state.files))


def _key(edits: Edits) -> str:
    what = [[edit.question.id, edit.source, edit.old, edit.new, *edit.answers]
            for edit in edits.facts]
    return sha256_bytes(json.dumps([what, dict(edits.texts)], sort_keys=True).encode())[:12]


def _ask(task: Task, settings: Settings, sheet: Sheet, shared: Mapping[str, Any]) -> None:
    """Ask the arms what they were not asked yet.

    The index alone may differ from that of the arms before: it holds the changed documents.
    """
    left = {turn: questions for turn, questions in sheet.missing().items() if questions}
    if not left:
        return
    bench = open_bench(settings, sheet.arms, sheet.questions, task.adapters.by_arm)
    for (arm, seed), questions in left.items():
        now = {**conditions(bench, settings), "index": shared.get("index")}
        assert_same(now, shared, arm)
        with bar(f"answering: {sheet.name}{arm}", len(questions)) as advance:
            answer(bench, arm, [question.question for question in questions],
                   sheet.keeper((arm, seed), questions, advance))


@contextlib.contextmanager
def _copied(settings: Settings, run: Path) -> Iterator[tuple[Settings, Path]]:
    """Settings that name a copy of the store, and the folder that it lies in for now."""
    from phi3kit.ingest.store import open_store
    from phi3kit.rag.retrieve import embedder_name

    with tempfile.TemporaryDirectory(dir=run, prefix=_COPY) as folder:
        store = Path(folder) / "store"
        shutil.copytree(settings.ingest.store, store)
        with contextlib.closing(open_store(store, settings.ingest.collection)) as copy:
            if copy.fingerprint != read_run(run)["inputs"]["index"]:
                raise RunError("the collection is not the one that the arms answered from",
                               where=settings.ingest.store, mend="Run phi3kit compare again")
            built = copy.manifest
        # What it was built with, which may have been flags of that ingest: else it is refused.
        ingest = msgspec.structs.replace(
            settings.ingest, store=str(store), engine="local", chunk_tokens=built.chunk_tokens,
            precision=built.precision,
            embedder=embedder_name(settings.ingest.embedder, built.embedder))
        yield msgspec.structs.replace(settings, ingest=ingest), Path(folder)


def _ingested(settings: Settings, edits: Edits, folder: Path) -> dict[str, float]:
    """Put each edited text in the place of its document; its title stays, as its file's name."""
    from phi3kit.ingest.reconcile import replace_documents

    files = {}
    for number, (source, text) in enumerate(edits.texts.items()):
        files[source] = folder / str(number) / f"{Path(source).stem}.md"
        files[source].parent.mkdir(parents=True)
        files[source].write_text(text, encoding="utf-8", newline="\n")
    report = replace_documents(settings, files)
    if report.failed:
        raise RunError(f"a changed document cannot be ingested ({report.failed[0].why})",
                       where=report.failed[0].where)
    return {"chunks": report.chunks_embedded, "seconds": report.seconds}


def _tune_seconds(task: Task) -> float | None:
    """What training every adapter took; None where one's run does not tell."""
    folders = dict.fromkeys(task.adapters.by_arm[arm] for arm in contestants(task.arms)
                            if arm in TUNED)
    told = [((training_run(folder) or {}).get("result") or {}).get("seconds")
            for folder in folders]
    known = [float(seconds) for seconds in told if seconds is not None]
    return sum(known) if known and len(known) == len(told) else None
