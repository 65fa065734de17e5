"""The whole decision on the sample data: advise, ingest, finetune, compare.

Each step is the very call that its command makes, on a copy of the sample data in a folder
of the user's, so that every step can be done again there by hand.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from phi3kit import settings
from phi3kit.errors import SettingsError
from phi3kit.files import sha256_file, write_json
from phi3kit.parsing import read_json
from phi3kit.progress import note
from phi3kit.records import Advice, Comparison, IngestReport, TrainReport
from phi3kit.shipped import shipped

# Everything that the steps read; what only builds or explains the data stays behind.
SAMPLE = ("documents", "train.jsonl", "questions.jsonl", "scenario.yaml")
# Where a folder notes what was laid out in it: hashes by name within `data`.
_MARK = Path(".phi3kit") / "demo.json"
# What tells that somebody works in a folder, and what --fresh throws away of it.
_MADE = ("runs", ".phi3kit")
_WORK = ("data", *_MADE, settings.FILE_NAME)


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

    Raises:
        SettingsError: the folder holds a project that is not the demo's, or its phi3kit.yaml
            names no scenario.
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
        if values.advise.scenario is None:
            raise SettingsError("no scenario, which the demo's advice is taken from",
                                where=f"{folder / settings.FILE_NAME}: advise.scenario",
                                mend="Set it to data/scenario.yaml, or give another --folder")
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

    What was laid out is noted in the folder. Only such files are replaced or removed later, and
    only as they were laid out: one that was changed since is kept. Unchanged files keep their
    times, so that the steps see them as unchanged.

    Args:
        folder: a new one, or one that an earlier demo laid out.
        fresh: remove its store and runs first.

    Raises:
        SettingsError: the folder holds a project of somebody's own.
    """
    sample = _sample()
    noted = _noted(folder, sample)
    if fresh:
        for made in _MADE:
            shutil.rmtree(folder / made, ignore_errors=True)
    write_json(folder / _MARK, noted)  # before the first copy: an interrupted one is ours too
    kept = []
    for name, source in sample.items():
        target = folder / "data" / name
        if not target.exists() or _unchanged(target, noted.get(name)):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        elif sha256_file(target) != sha256_file(source):
            kept.append(name)
    # Documents that an older version of the sample held would be answers nobody asks for.
    for name in noted.keys() - sample.keys():
        if _unchanged(folder / "data" / name, noted[name]):
            (folder / "data" / name).unlink()
    if not (folder / settings.FILE_NAME).exists():  # the user may have changed it: keep theirs
        shutil.copy2(shipped("data") / settings.FILE_NAME, folder / settings.FILE_NAME)
    write_json(folder / _MARK, {name: sha256_file(source) for name, source in sample.items()})
    if kept:
        note(f"{folder / 'data'}: kept as changed here: {', '.join(kept)}; the sample's own comes "
             "back where one is removed")


def _sample() -> dict[str, Path]:
    """The files of the sample by their names within `data`."""
    data = shipped("data")
    paths = [path for name in SAMPLE for path in (
        sorted((data / name).rglob("*")) if (data / name).is_dir() else [data / name])]
    return {path.relative_to(data).as_posix(): path for path in paths if path.is_file()}


def _noted(folder: Path, sample: Mapping[str, Path]) -> Mapping[str, str]:
    """Hashes of what an earlier demo laid out in `folder`; {} in one where nobody works yet.

    A demo before there were notes is known by its data: names of the sample and no other, and
    of the documents one at least that is the sample's. What it laid out is not known, so that
    nothing there is replaced.

    Raises:
        SettingsError: the folder holds a project of somebody's own.
    """
    with contextlib.suppress(OSError, ValueError):  # no note, or a damaged one
        noted = read_json((folder / _MARK).read_text(encoding="utf-8"))
        if isinstance(noted, dict):
            return {str(name): str(key) for name, key in noted.items()}
    work = [name for name in _WORK if (folder / name).exists()]
    if work and not _is_older_demo(folder / "data", sample):
        raise SettingsError(f"holds {work[0]}, which no demo laid out and this one would change",
                            where=str(folder), mend="Give a new folder with --folder")
    return {}


def _is_older_demo(data: Path, sample: Mapping[str, Path]) -> bool:
    there = {path.relative_to(data).as_posix(): path for path in data.rglob("*")
             if path.is_file()}
    return there.keys() <= sample.keys() and any(
        name.startswith("documents/") and _unchanged(path, sha256_file(sample[name]))
        for name, path in there.items())


def _unchanged(path: Path, noted: str | None) -> bool:
    return path.is_file() and sha256_file(path) == noted
