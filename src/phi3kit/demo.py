"""The whole decision on the sample data: advise, ingest, finetune, compare.

Each step is the very call that its command makes, on a copy of the sample data in a folder
of the user's, so that every step can be done again there by hand.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from phi3kit import settings
from phi3kit.records import Advice, Comparison, IngestReport, TrainReport
from phi3kit.shipped import shipped

# Everything that the steps read; what only builds or explains the data stays behind.
SAMPLE = ("documents", "train.jsonl", "questions.jsonl", "scenario.yaml")


@dataclass(frozen=True, slots=True)
class Step:
    """A step that begins now, and the command that does it again by hand."""

    number: int
    title: str
    command: str


Event = Step | Advice | IngestReport | TrainReport | Comparison

STEPS = (
    Step(1, "advise: what the rules say before anything is measured", "phi3kit advise"),
    Step(2, "ingest: the sample documents into a Chroma collection", "phi3kit ingest"),
    Step(3, "finetune: a LoRA adapter on a base in 4-bit NF4", "phi3kit finetune --qlora"),
    Step(4, "compare: base, rag, finetune and both on held-out questions",
         "phi3kit compare --adapter {adapter}"),
)


def run_demo(folder: Path, *, fresh: bool = False) -> Iterator[Event]:
    """Take the decision in `folder`; yields each step as it begins, then what it made.

    Args:
        folder: made if it is missing; holds a copy of the sample data, phi3kit.yaml, the
            store and the run folders. What is still valid there is reused.
        fresh: throw away the folder's store and runs first.
    """
    from phi3kit.advise.at_hand import AtHand
    from phi3kit.advise.prediction import DEFAULT_PATH, write_prediction
    from phi3kit.advise.scenario import read_scenario
    from phi3kit.advise.score import advise
    from phi3kit.compare.run import compare
    from phi3kit.finetune.train import finetune
    from phi3kit.ingest.reconcile import ingest

    lay_out(folder, fresh=fresh)
    with contextlib.chdir(folder):
        flags = {"finetune.qlora": True}
        resolved = settings.load(flags)
        values = resolved.values
        assert values.advise.scenario is not None
        yield STEPS[0]
        advice = advise(read_scenario(Path(values.advise.scenario)), at_hand=AtHand(values))
        write_prediction(advice, Path(DEFAULT_PATH))
        yield advice
        yield STEPS[1]
        yield ingest(values)
        yield STEPS[2]
        trained = finetune(values, resolved)
        yield trained
        last = STEPS[3]
        yield Step(last.number, last.title, last.command.format(adapter=trained.run))
        resolved = settings.load({**flags, "ask.adapter": trained.run})
        yield compare(resolved.values, resolved)


def lay_out(folder: Path, *, fresh: bool) -> None:
    """Copy the sample data into `folder`; files that are there already are brought up to date.

    Unchanged files keep their times, so that the steps see them as unchanged.
    """
    data = shipped("data")
    if fresh:
        for made in ("runs", ".phi3kit"):
            shutil.rmtree(folder / made, ignore_errors=True)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name in SAMPLE:
        source, target = data / name, folder / "data" / name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)
    if not (folder / settings.FILE_NAME).exists():  # the user may have changed it: keep theirs
        shutil.copy2(data / settings.FILE_NAME, folder / settings.FILE_NAME)
    # Documents that an older version of the sample held would be answers nobody asks for.
    known = {path.relative_to(data / "documents") for path in (data / "documents").rglob("*")}
    for path in sorted((folder / "data" / "documents").rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(folder / "data" / "documents") not in known:
            os.unlink(path)  # noqa: PTH108
