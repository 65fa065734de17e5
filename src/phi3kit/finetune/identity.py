"""The identity of a training: everything that changes the adapter, and what was changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from phi3kit import __version__, runs
from phi3kit.dataset.examples import Example, Examples
from phi3kit.errors import RunError
from phi3kit.files import sha256_bytes
from phi3kit.finetune.search import Search
from phi3kit.settings import Settings, flatten

# Settings of `finetune` that do not change the result, but for rounding.
_NOT_IDENTITY = ("dataset", "micro_batch_tokens", "packing", "checkpointing", "shard",
                 "report_to")


def inputs_of(settings: Settings, data: Examples, kept: Sequence[Example],
              search: Search) -> dict[str, Any]:
    """Everything that changes the adapter: the identity of the run."""
    from phi3kit.models.bases import fingerprint, reading

    model = settings.model
    inputs = {**inputs_ahead(settings, data, kept),
              "base": fingerprint(model.name, model.revision)}
    if reads := reading(model.name, model.revision):
        inputs["reads"] = reads
    if search.fingerprint is not None:
        inputs |= {"index": search.fingerprint, "passages": settings.ask.passages,
                   "min_similarity": settings.ask.min_similarity}
    return inputs


def inputs_ahead(settings: Settings, data: Examples, kept: Sequence[Example]) -> dict[str, Any]:
    """What of it is known without the model and the collection."""
    own = {key: value for key, value in msgspec.to_builtins(settings.finetune).items()
           if key not in _NOT_IDENTITY}
    inputs: dict[str, Any] = {
        "phi3kit": __version__, "dataset": data.sha256, "examples": len(kept),
        "dtype": settings.model.dtype, "device": settings.model.device,
        "instruction": settings.ask.instruction, "finetune": own,
    }
    if len(kept) < len(data.examples):  # which ones were held out, not only how many
        lines = ",".join(str(example.line) for example in kept)
        inputs["kept"] = sha256_bytes(lines.encode())
    return inputs


def refuse_changed(run: Path, inputs: Mapping[str, Any]) -> None:
    """Compare what a run was made from with `inputs`.

    Raises:
        RunError: no run of `finetune`, or made from something else, which is named.
    """
    state = runs.read_run(run)
    if state.get("kind") != "finetune":
        raise RunError("this is no run of finetune", where=str(run),
                       mend="Give a folder that `phi3kit finetune` made")
    before, now = flatten(state["inputs"]), flatten(inputs)
    if "reads" not in state["inputs"]:  # a run of before that was recorded
        now = {key: value for key, value in now.items() if not key.startswith("reads.")}
    changed = [_change(key, before.get(key), now.get(key)) for key in {**before, **now}
               if before.get(key) != now.get(key)]
    if changed:
        raise RunError(f"made with something else: {'; '.join(changed)}", where=str(run),
                       mend="Give the same again, or leave out --resume for a run of its own")


def _change(key: str, before: Any, now: Any) -> str:
    if key in ("dataset", "base", "index"):  # hashes tell nobody anything
        return f"the {key} has another content"
    if key == "kept":
        return "other examples are held out"
    if key.startswith("reads."):
        return f"the base has another {key.partition('.')[2]}"
    return f"{key} was {before!r} and is {now!r}"
