"""How a run of `finetune` that stopped goes on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phi3kit.settings import recorded


def to_finish(run: Path, state: Mapping[str, Any]) -> str:
    """The command that goes on with `run`, from the folder that it was begun in.

    `--resume` names a run and takes no settings from it. Those of phi3kit.yaml are found in that
    folder again; the flags are given again, as run.json has them.

    Args:
        run: the run folder; `state` is its record.
    """
    flags, begun = recorded.flags(state), Path(state.get("folder") or "")
    if flags is None:
        return f"api.finetune with the settings that it was begun with, and resume={str(run)!r}"
    there = not state.get("folder") or begun == Path.cwd()
    command = "" if there else f"cd {shlex.quote(str(begun))} && "
    command += f"phi3kit finetune --resume {shlex.quote(str(run if there else run.resolve()))}"
    return " ".join((command, *(_flag(key, value) for key, value in flags.items())))


def _flag(key: str, value: Any) -> str:
    section, _, name = key.rpartition(".")
    # Every flag of `finetune` is called as its setting is, but for the base.
    flag = "model" if (section, name) == ("model", "name") else name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {shlex.quote(str(value))}"
