"""Run folders: what went in, with what, and what came out.

A run's folder is named after the hash of its inputs (settings that matter, hashes of the
data, fingerprint of the base model). So the same work is found again instead of being done
again, an interrupted run is continued, and a changed input is another folder.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from phi3kit.errors import RunError
from phi3kit.files import expanded, sha256_bytes, write_json
from phi3kit.parsing import read_json
from phi3kit.settings import recorded

Status = Literal["running", "complete", "failed"]

_PACKAGES = (
    "phi3kit", "torch", "transformers", "peft", "accelerate", "bitsandbytes", "datasets",
    "chromadb", "sentence-transformers", "scipy", "statsmodels",
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder that is open for writing.

    Attributes:
        path: the folder.
        state: what run.json held when it was opened; `status` tells whether it is complete.
    """

    path: Path
    state: dict[str, Any]

    @property
    def complete(self) -> bool:
        """Whether an earlier run with the same inputs finished here."""
        return bool(self.state["status"] == "complete")

    def finish(self, result: Any) -> None:
        """Record `result` (plain JSON values) and mark the run complete."""
        self._write("complete", result=result)

    def record(self, **more: Any) -> None:
        """Put plain JSON values into run.json, beside what it holds or in its place."""
        self.state.update(more)
        write_json(self.path / "run.json", self.state)

    def record_settings(self, found: Mapping[str, Any]) -> None:
        """Record the settings of a call that does over what an earlier one made of its inputs."""
        if found != self.state["settings"]:
            self.record(settings=dict(found), folder=str(Path.cwd()))

    def record_machine(self) -> None:
        """Record under `later` that work is added by other versions or on another machine."""
        now = {"versions": versions(), "machine": machine()}
        later = self.state.get("later", [])
        last = later[-1] if later else self.state
        if any(last.get(name) != value for name, value in now.items()):
            self.record(later=[*later, {"at": _now(), **now}])

    def fail(self, why: str) -> None:
        """Mark the run failed; the next one with the same inputs continues or begins anew."""
        self._write("failed", why=why)

    def _write(self, status: Status, **more: Any) -> None:
        write_json(self.path / "run.json",
                   {**self.state, "status": status, "finished": _now(), **more})


def folder_of(root: Path, kind: str, inputs: Mapping[str, Any]) -> Path:
    """Where the run with these inputs is, or will be."""
    return root / f"{kind}-{_key(inputs)[:12]}"


def _key(inputs: Mapping[str, Any]) -> str:
    return sha256_bytes(json.dumps(inputs, sort_keys=True, ensure_ascii=False).encode())


@contextmanager
def held(run: Path, *, busy: str, mend: str) -> Iterator[None]:
    """Keep other processes out of a run folder, whether it is there yet or not.

    To be held before `open_run`: what --fresh throws away may be another process's work. The
    lock is beside the folder and not in it, for the folder is removed.

    Args:
        run: the run folder, as `folder_of` names it.
        busy: what to say when another process has it.
        mend: what to do then.

    Raises:
        RunError: another process has it, or the folder of run folders cannot be made.
    """
    _make(run.parent)
    # Resolved, so that it is one lock by whatever path the folder is named ("." too).
    lock = FileLock(f"{run.resolve()}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunError(busy, where=str(run), mend=mend) from error
    except OSError as error:
        raise _unwritable(run.parent, error) from error
    try:
        yield
    finally:
        # While it is held: whoever waits for a file that has lost its name takes a new one.
        with suppress(OSError):  # Windows keeps the names of open files
            Path(lock.lock_file).unlink()
        lock.release()


def open_run(root: Path, kind: str, inputs: Mapping[str, Any], *,
             settings: Mapping[str, Any], fresh: bool = False) -> Run:
    """The run folder for `inputs`: a new one, or the one that an earlier run left.

    Args:
        root: the folder of run folders.
        kind: "finetune", "compare", …; the first part of the folder's name.
        inputs: everything that changes the result, as plain JSON values. It is the identity.
        settings: resolved settings with their sources, for the record only.
        fresh: throw away what an earlier run with the same inputs left; it has to be `held`.
            It is removed when the new one is there: a kill in between leaves one of the two.

    Raises:
        RunError: the folder cannot be made, or its record is damaged.
    """
    key, path = _key(inputs), folder_of(root, kind, inputs)
    if fresh and path.exists():
        with _replaced(path):
            return _begun(path, kind, key, inputs, settings)
    if (path / "run.json").is_file():
        state = read_run(path)
        if state.get("key") == key:
            return Run(path, state)
    return _begun(path, kind, key, inputs, settings)


def _begun(path: Path, kind: str, key: str, inputs: Mapping[str, Any],
           settings: Mapping[str, Any]) -> Run:
    _make(path)
    state = {
        "kind": kind, "key": key, "status": "running", "created": _now(), "finished": None,
        "inputs": dict(inputs), "settings": dict(settings), "folder": str(Path.cwd()),
        "versions": versions(), "machine": machine(), "result": None,
    }
    write_json(path / "run.json", state)
    return Run(path, state)


@contextmanager
def _replaced(path: Path) -> Iterator[None]:
    """Put a run folder aside while another is made in its place; an error brings it back.

    Raises:
        RunError: it cannot be moved.
    """
    aside = path.with_name(f".replaced-{path.name}")
    try:
        if aside.exists():  # a kill came before it was removed
            shutil.rmtree(aside)
        path.rename(aside)
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    try:
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        aside.rename(path)
        raise
    shutil.rmtree(aside)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> RunError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise error  # a full disk is no matter of this folder
    return RunError(f"no run folder can be made here ({error.strerror or error})",
                    where=str(folder), mend="Set `runs` to a folder that you may write to")


def read_run(path: Path) -> dict[str, Any]:
    """run.json of a run folder.

    Raises:
        RunError: the folder is no run folder, or its record is damaged.
    """
    try:
        state = read_json((path / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError("not a run folder (no run.json)", where=str(path),
                       mend="Give a folder that finetune or compare made") from error
    except (OSError, ValueError) as error:
        raise RunError(f"run.json cannot be read ({error})", where=str(path),
                       mend="Run the command again with --fresh") from error
    if not isinstance(state, dict) or "status" not in state:
        raise RunError("run.json is not ours", where=str(path),
                       mend="Give a folder that finetune or compare made")
    return state


def recorded_path(run: Path, state: Mapping[str, Any], name: str) -> Path:
    """A file or folder that the settings of a run name, found from any folder.

    A relative name is looked for where the run folder's project is now (it may have been moved),
    then where it was when the run was made, then in the working folder.

    Args:
        run: the run folder; `state` is its record.
        name: as the settings have it.

    Returns:
        The first that is there; where none is, the name itself.
    """
    given = expanded(name)
    if given.is_absolute():
        return given
    projects = []
    root, above = Path(recorded.flat(state).get("runs") or "runs"), run.resolve().parents
    if not root.is_absolute() and len(root.parts) < len(above):
        projects.append(above[len(root.parts)])
    if state.get("folder"):
        projects.append(Path(str(state["folder"])))
    return next((found for project in projects if (found := project / given).exists()), given)


def versions() -> dict[str, str]:
    """Installed versions of Python and of the packages that change results."""
    import importlib.metadata  # it takes longer than most commands have to start

    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def cores() -> int:
    """Processor cores that this process may use."""
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else
            os.cpu_count() or 1)


def machine() -> dict[str, Any]:
    """The machine in words: system, processor (and generation), usable cores, memory in bytes."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = None
    return {"system": platform.platform(terse=True), **_processor(), "cores": cores(),
            "memory_bytes": memory}


def _processor() -> dict[str, str]:
    """Its name, and its generation where the system tells.

    One name may stand for several, of which one computes twice as fast in bfloat16 as another.
    """
    cpuinfo = Path("/proc/cpuinfo")
    told: dict[str, str] = {}
    if cpuinfo.is_file():
        first, _, _ = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")
        for line in first.splitlines():
            key, _, value = line.partition(":")
            told[key.strip()] = value.strip()
    found = {"processor": told.get("model name") or platform.processor() or platform.machine()}
    if "cpu family" in told and "model" in told:
        found["generation"] = f"family {told['cpu family']}, model {told['model']}"
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
