"""Several adapters of one arm are one training with other seeds, or they are no such thing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phi3kit.compare.leakage import training_run
from phi3kit.errors import SettingsError
from phi3kit.settings import flatten

_SEED = "finetune.seed"
# Hashes tell nobody anything.
_BY_CONTENT = {"base": "base", "dataset": "dataset", "index": "collection"}


def refuse_unlike(adapters: Sequence[Path], where: str) -> None:
    """Stop unless the adapters were trained alike but for the seed, each with its own.

    What was trained is read from run.json beside each: base, examples, settings of `finetune`.

    Args:
        adapters: their folders, the one that `ask` answers with first.
        where: the setting that names the others.

    Raises:
        SettingsError: names what differs, or what is not known.
    """
    if len(adapters) < 2:
        return
    trained = [_inputs(folder, where) for folder in adapters]
    seeds: dict[Any, Path] = {}
    for folder, inputs in zip(adapters, trained, strict=True):
        different = [_said(key, trained[0].get(key), inputs.get(key))
                     for key in dict.fromkeys([*trained[0], *inputs])
                     if key != _SEED and trained[0].get(key) != inputs.get(key)]
        if different:
            raise SettingsError(
                f"{folder.parent} differs from {adapters[0].parent} in more than the seed: "
                f"{'; '.join(different)}", where=where,
                mend="Give runs of the same `phi3kit finetune` with another --seed")
        twin = seeds.setdefault(inputs.get(_SEED), folder)
        if twin != folder:
            raise SettingsError(
                f"{twin.parent} and {folder.parent} were trained with the same seed, "
                f"{inputs.get(_SEED)}", where=where, mend="Train one of them with another --seed")


def _inputs(adapter: Path, where: str) -> dict[str, Any]:
    """What its run was made from, by dotted key."""
    state = training_run(adapter)
    if state is None or state.get("kind") != "finetune" or "finetune" not in state["inputs"]:
        raise SettingsError(
            f"how {adapter} was trained is not known, so neither is whether only its seed differs",
            where=where, mend="Give run folders of `phi3kit finetune`")
    made: dict[str, Any] = state["inputs"]
    return flatten(made)


def _said(key: str, first: Any, own: Any) -> str:
    if key in _BY_CONTENT:
        return f"the {_BY_CONTENT[key]} has another content"
    return f"{key} is {own!r} and not {first!r}"
