"""What an adapter was trained on, and the nested subsets of it that a learning curve needs."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from phi3kit.compare.arms import contestants
from phi3kit.compare.leakage import training_data, training_run
from phi3kit.compare.tuned import TUNED
from phi3kit.errors import DataError, RunError, SettingsError
from phi3kit.files import sha256_bytes, write_atomic
from phi3kit.records import Arm
from phi3kit.settings import FinetuneSettings, Settings

if TYPE_CHECKING:
    from phi3kit.compare.task import Task
    from phi3kit.dataset.examples import Example

_WHERE = "compare.learning_curve"


@dataclass(frozen=True, slots=True)
class Curve:
    """One arm's learning curve to be.

    Attributes:
        adapter: the folder of the adapter that was trained on all examples.
        state: run.json of its run.
        examples: those that it was trained on, in the order of their file.
        sizes: of the subsets to be trained on, ascending, each smaller than all.
    """

    arm: Arm
    adapter: Path
    state: Mapping[str, Any]
    examples: tuple[Example, ...]
    sizes: tuple[int, ...]


def curves(task: Task) -> tuple[Curve, ...]:
    """The curves that are wanted, one for each tuned arm that can win; none where none is.

    Raises:
        SettingsError: no arm is tuned, or a subset would be larger than the examples.
        DataError: an adapter's examples are gone, or were changed since.
        RunError: the folder of an adapter does not tell how it was trained.
    """
    sizes = task.settings.compare.learning_curve
    if not sizes:
        return ()
    arms = [arm for arm in contestants(task.arms) if arm in TUNED]
    if not arms:
        raise SettingsError("no arm is tuned", where=_WHERE, mend="Add finetune or both to --arms")
    return tuple(_curve(arm, task.adapters.by_arm[arm], sizes) for arm in arms)


def _curve(arm: Arm, adapter: Path, sizes: Sequence[int]) -> Curve:
    state = training_run(adapter)
    if state is None or state.get("kind") != "finetune" or "finetune" not in state["inputs"]:
        raise RunError("how the adapter was trained is not known, so that it cannot be trained on "
                       "fewer examples", where=str(adapter),
                       mend="Give a run folder of `phi3kit finetune`, or leave out "
                            "--learning-curve")
    examples = training_data(adapter, state)
    if examples is None:
        raise DataError("the examples that this run was trained on are gone, or were changed since",
                        where=str(adapter.parent),
                        mend="Put them back, or train anew with `phi3kit finetune`")
    if max(sizes) > len(examples):
        raise SettingsError(f"{max(sizes)} is more than the {len(examples)} examples that the "
                            f"adapter of {arm} was trained on", where=_WHERE,
                            mend=f"Give sizes of at most {len(examples)}")
    return Curve(arm, adapter, state, tuple(examples),
                 tuple(sorted({size for size in sizes if size < len(examples)})))


def subset(curve: Curve, size: int) -> tuple[Example, ...]:
    """`size` of the examples, in the order of their file; each size has those of the smaller.

    They are drawn with the seed that the adapter was trained with.
    """
    seed = curve.state["inputs"]["finetune"].get("seed", 0)
    order = random.Random(seed).sample(range(len(curve.examples)), len(curve.examples))
    return tuple(curve.examples[place] for place in sorted(order[:size]))


def write_subset(examples: Sequence[Example], folder: Path) -> Path:
    """Write examples where training can read them, named by their content."""
    text = "".join(json.dumps({"messages": example.messages, "source_ids": example.source_ids,
                               "kind": example.kind}, ensure_ascii=False) + "\n"
                   for example in examples)
    path = folder / f"examples-{len(examples)}-{sha256_bytes(text.encode())[:12]}.jsonl"
    folder.mkdir(exist_ok=True)
    write_atomic(path, text)
    return path


def training_settings(settings: Settings, state: Mapping[str, Any], dataset: Path) -> Settings:
    """Settings that train on `dataset` as the run with this run.json was trained.

    Whatever decided the run's result is taken from it; only what changes nothing but rounding,
    such as the size of micro-batches, is that of `settings`.

    Raises:
        RunError: the run was made by a version with other settings.
    """
    made = state["inputs"]
    try:
        own = msgspec.convert({**msgspec.to_builtins(settings.finetune), **made["finetune"],
                               "dataset": str(dataset)}, FinetuneSettings)
        model = msgspec.structs.replace(settings.model, dtype=made["dtype"],
                                        device=made["device"])
    except (msgspec.ValidationError, KeyError) as error:
        raise RunError(f"the adapter was trained by another version ({error})",
                       where=f"run {state.get('key', '')[:12]}",
                       mend="Train it anew with `phi3kit finetune`") from error
    ask = msgspec.structs.replace(settings.ask, **{
        name: made[name] for name in ("instruction", "passages", "min_similarity")
        if name in made})
    return msgspec.structs.replace(settings, finetune=own, model=model, ask=ask)
