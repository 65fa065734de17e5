"""Checkpoints that are complete or absent, and known to be so.

A checkpoint is written into a folder of another name, flushed, listed with the SHA-256 of
each file in a manifest, and then renamed. So a folder that has the name of a checkpoint was
whole once, and its manifest tells whether it still is.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phi3kit.errors import RunError, first_line
from phi3kit.files import flush, flush_tree, sha256_file, write_json
from phi3kit.progress import note

CHECKPOINTS = "checkpoints"
MANIFEST = "manifest.json"
MAKE_ROOM = ("Make room and run the same command again, not with --fresh: it goes on from the last "
             "good checkpoint, which is kept")
_STAGED = ".saving-"
_KEPT = 2  # the newest, and the one before should the disk have damaged it


@contextmanager
def saving(root: Path, name: str) -> Iterator[Path]:
    """A folder to write the checkpoint `name` into; it gets its place at the end, if all went well.

    Args:
        root: the folder of checkpoints; the last two are kept in it.
        name: "checkpoint-<step>".

    Yields:
        A staging folder; what is to become the checkpoint goes into its subfolder `name`.

    Raises:
        RunError: the disk is full or fails; earlier checkpoints are as they were.
    """
    with explained("the checkpoint", root):
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        staging = Path(tempfile.mkdtemp(dir=root, prefix=_STAGED))
        try:
            yield staging
            _seal(staging / name)
            if (root / name).exists():  # a damaged one, which was passed over
                _remove(root / name)
            (staging / name).rename(root / name)
            flush(root)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    for old in sorted(_named(root), key=step_of)[:-_KEPT]:
        _remove(old)


def discard(run: Path) -> None:
    """Remove a run's checkpoints, which a finished run needs no more."""
    if (run / CHECKPOINTS).exists():
        _remove(run / CHECKPOINTS)
    _sweep(run)


def newest(run: Path) -> Path | None:
    """The newest checkpoint of a run that is whole; damaged ones are passed over with a note."""
    for folder in sorted(_named(run / CHECKPOINTS), key=step_of, reverse=True):
        damage = damage_of(folder)
        if damage is None:
            return folder
        note(f"{folder} is damaged ({damage}); looking for the one before")
    return None


def damage_of(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, by its manifest; None when it is whole."""
    try:
        listed = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        hashes = {str(name): str(digest) for name, digest in listed["sha256"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"no readable {MANIFEST}"
    for name, digest in hashes.items():
        try:
            if sha256_file(checkpoint / name) != digest:
                return f"{name} is not what was written"
        except OSError:
            return f"{name} cannot be read"
    return None


def step_of(checkpoint: Path) -> int:
    """The number of optimizer steps that a checkpoint has behind it."""
    return int(checkpoint.name.rpartition("-")[2])


def _named(root: Path) -> list[Path]:
    return [path for path in root.glob("checkpoint-*") if path.name.partition("-")[2].isdigit()]


def _remove(folder: Path) -> None:
    """Out of its name at once; a kill within the removal leaves nothing that looks whole."""
    gone = folder.with_name(f"{_STAGED}{folder.name}")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Remove what a killed process left half written; one process at a time trains a run."""
    for left in root.glob(f"{_STAGED}*"):
        shutil.rmtree(left, ignore_errors=True)


def _seal(folder: Path) -> None:
    """Flush each file, then write the manifest: whoever has it has all the rest."""
    flush_tree(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_json(folder / MANIFEST, {"sha256": {
        path.relative_to(folder).as_posix(): sha256_file(path) for path in files}})
    flush(folder)


@contextmanager
def explained(what: str, where: Path) -> Iterator[None]:
    """Tell of a full or failing disk in one line; what is no matter of the disk stays as it is.

    safetensors tells of it in an error of its own, with the system's words in it; torch's
    archive writer loses these words.

    Args:
        what: what is being saved, e.g. "the checkpoint".
        where: the folder.

    Raises:
        RunError: the disk is full or fails.
    """
    try:
        yield
    except Exception as error:
        why = _of_the_disk(error)
        if why is None:
            raise
        raise RunError(f"{what} cannot be saved ({why})", where=str(where),
                       mend=MAKE_ROOM) from error


_TORCH_WRITER = ("PytorchStreamWriter", "inline_container", "iostream error", "unexpected pos")


def _of_the_disk(error: BaseException | None) -> str | None:
    """What an error, or one that it came from, says of the disk; None when it is another matter."""
    while error is not None:
        if isinstance(error, OSError) or "os error" in str(error):
            return first_line(error)
        if any(sign in str(error) for sign in _TORCH_WRITER):
            return "torch could not write it to the end, as on a full disk"
        error = error.__cause__ or error.__context__
    return None
