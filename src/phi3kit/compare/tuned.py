"""Which adapter is which: the one tuned without passages, and the one tuned with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi3kit.compare.leakage import refuse_leakage, training_data, training_run
from phi3kit.errors import SettingsError
from phi3kit.files import sha256_file
from phi3kit.rag.prompt import question_in
from phi3kit.records import Arm, Question
from phi3kit.settings import Settings

# The arms that answer with ask.adapter, and the one that prefers compare.adapter_rag.
_PLAIN: frozenset[Arm] = frozenset({"finetune", "bolted-on"})
_WITH_PASSAGES: Arm = "both"
TUNED = _PLAIN | {_WITH_PASSAGES}


@dataclass(frozen=True, slots=True)
class Adapters:
    """The adapter's folder for each tuned arm, and what has to be known about them."""

    by_arm: dict[Arm, Path]
    notes: tuple[str, ...] = ()

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the weights by arm."""
        return {arm: sha256_file(folder / "adapter_model.safetensors")
                for arm, folder in self.by_arm.items()}


def find_adapters(settings: Settings, arms: Sequence[Arm],
                  questions: Sequence[Question]) -> Adapters:
    """The adapters that the tuned ones of `arms` answer with.

    Raises:
        SettingsError: an arm has none, or two arms would be one and the same.
        DataError: a question stands among the examples of one of them.
        ModelError: there is no adapter in a folder.
    """
    from phi3kit.models.adapters import adapter_folder, trained_as

    tuned = [arm for arm in arms if arm in TUNED]
    if not tuned:
        return Adapters({})
    _refuse_server(settings, tuned, arms)
    plain, other = settings.ask.adapter, settings.compare.adapter_rag
    given = {arm: (other or plain) if arm == _WITH_PASSAGES else plain for arm in tuned}
    without = [arm for arm, path in given.items() if not path]
    if without:
        raise SettingsError(
            f"{' and '.join(without)} {'needs' if len(without) == 1 else 'need'} an adapter",
            where="ask.adapter",
            mend="Train one with `phi3kit finetune` and give its run folder with --adapter"
                 + _or_leave_out(without, arms))
    if "bolted-on" in given and not other:
        raise SettingsError(
            "bolted-on would be the same as both: there is one adapter",
            where="compare.adapter_rag",
            mend="Train one with passages and give it with --adapter-rag, or leave bolted-on out")
    folders = {arm: adapter_folder(path) for arm, path in given.items() if path}
    once = list(dict.fromkeys(folders.values()))
    if len({trained_as(folder)["quantization"] for folder in once}) > 1:
        raise SettingsError("the adapters were trained on differently quantised bases",
                            where="compare.adapter_rag", mend="Train one of them anew")
    for folder in once:
        refuse_leakage(folder, questions)
    return Adapters(folders, _notes(folders))


def _refuse_server(settings: Settings, tuned: Sequence[Arm], arms: Sequence[Arm]) -> None:
    if settings.model.endpoint is not None:
        raise SettingsError(
            f"{' and '.join(tuned)} put an adapter on the model, which a server's does not take",
            where="model.endpoint", mend="Answer with a local model" + _or_leave_out(tuned, arms))


def _or_leave_out(tuned: Sequence[Arm], arms: Sequence[Arm]) -> str:
    others = ",".join(arm for arm in arms if arm not in tuned)
    return f", or leave them out with --arms {others}" if "," in others else ""


def _notes(folders: dict[Arm, Path]) -> tuple[str, ...]:
    said = []
    for arm, folder in folders.items():
        seen = tuned_with_passages(folder)
        if seen is None:
            said.append(f"{arm}: whether {folder} was tuned with passages is not known")
        elif arm == _WITH_PASSAGES and not seen:
            said.append("both: its adapter was tuned without passages and is shown some; one "
                        "tuned with them may do better (finetune.passages, dataset raft)")
        elif arm in _PLAIN and seen:
            said.append(f"{arm}: its adapter was tuned with passages"
                        + (" and answers without" if arm == "finetune" else
                           ", so that nothing is bolted on"))
    return tuple(said)


def tuned_with_passages(adapter: Path) -> bool | None:
    """Whether an adapter saw retrieved passages in training; None when that is not known.

    It did when `finetune.passages` was above 0, or when its examples bring passages in the
    form that `ask` shows them.
    """
    state = training_run(adapter)
    if state is None:
        return None
    share: Any = state.get("inputs", {}).get("finetune", {}).get("passages")
    if share:
        return True
    examples = training_data(state)
    if examples is None:
        return None
    return any(question_in(m["content"]) is not None for example in examples
               for m in example.messages if m["role"] == "user")
