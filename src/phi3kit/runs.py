"""Run folders: what went in, with what, and what came out.

A run's folder is named after the hash of its inputs (settings that matter, hashes of the
data, fingerprint of the base model). So the same work is found again instead of being done
again, an interrupted run is continued, and a changed input is another folder.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from phi3kit.errors import RunError
from phi3kit.files import sha256_bytes, write_json

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
    state: Mapping[str, Any]

    @property
    def complete(self) -> bool:
        """Whether an earlier run with the same inputs finished here."""
        return bool(self.state["status"] == "complete")

    def finish(self, result: Any) -> None:
        """Record `result` (plain JSON values) and mark the run complete."""
        self._write("complete", result=result)

    def fail(self, why: str) -> None:
        """Mark the run failed; the next one with the same inputs continues or begins anew."""
        self._write("failed", why=why)

    def _write(self, status: Status, **more: Any) -> None:
        write_json(self.path / "run.json",
                   {**self.state, "status": status, "finished": _now(), **more})


def open_run(root: Path, kind: str, inputs: Mapping[str, Any], *,
             settings: Mapping[str, Any], fresh: bool = False) -> Run:
    """The run folder for `inputs`: a new one, or the one that an earlier run left.

    Args:
        root: the folder of run folders.
        kind: "finetune", "compare", …; the first part of the folder's name.
        inputs: everything that changes the result, as plain JSON values. It is the identity.
        settings: resolved settings with their sources, for the record only.
        fresh: throw away what an earlier run with the same inputs left.
    """
    key = sha256_bytes(json.dumps(inputs, sort_keys=True, ensure_ascii=False).encode())
    path = root / f"{kind}-{key[:12]}"
    if fresh and path.exists():
        shutil.rmtree(path)
    if (path / "run.json").is_file():
        state = read_run(path)
        if state.get("key") == key:
            return Run(path, state)
    path.mkdir(parents=True, exist_ok=True)
    state = {
        "kind": kind, "key": key, "status": "running", "created": _now(), "finished": None,
        "inputs": dict(inputs), "settings": dict(settings), "folder": str(Path.cwd()),
        "versions": versions(), "machine": machine(), "result": None,
    }
    write_json(path / "run.json", state)
    return Run(path, state)


def read_run(path: Path) -> dict[str, Any]:
    """run.json of a run folder.

    Raises:
        RunError: the folder is no run folder, or its record is damaged.
    """
    try:
        state = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError("not a run folder (no run.json)", where=str(path),
                       mend="Give a folder that finetune or compare made") from error
    except (OSError, ValueError) as error:
        raise RunError(f"run.json cannot be read ({error})", where=str(path),
                       mend="Run the command again with --fresh") from error
    if not isinstance(state, dict) or "status" not in state:
        raise RunError("run.json is not ours", where=str(path))
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
    given = Path(name).expanduser()
    if given.is_absolute():
        return given
    projects = []
    root, above = _runs_setting(state), run.resolve().parents
    if not root.is_absolute() and len(root.parts) < len(above):
        projects.append(above[len(root.parts)])
    if state.get("folder"):
        projects.append(Path(str(state["folder"])))
    return next((found for project in projects if (found := project / given).exists()), given)


def _runs_setting(state: Mapping[str, Any]) -> Path:
    """The setting `runs`, from either form in which run.json keeps settings."""
    settings = state.get("settings", {})
    value = settings.get("values", {}).get("runs") or settings.get("runs", {}).get("value")
    return Path(value or "runs")


def versions() -> dict[str, str]:
    """Installed versions of Python and of the packages that change results."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The machine in words: system, processor, usable cores, memory in bytes."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = None
    return {"system": platform.platform(terse=True), "processor": processor,
            "cores": cores, "memory_bytes": memory}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
