"""Which adapter is which: the one tuned without passages, and the one tuned with them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phi3kit.compare.leakage import refuse_leakage, training_data, training_run
from phi3kit.compare.same_training import refuse_unlike
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
    """The adapter's folder for each tuned arm, and what has to be known about them.

    Attributes:
        by_arm: the one that `ask` would answer with.
        more: by arm, those of the same training with other seeds.
    """

    by_arm: dict[Arm, Path]
    notes: tuple[str, ...] = ()
    more: dict[Arm, tuple[Path, ...]] = field(default_factory=dict)

    def all_of(self, arm: Arm) -> tuple[Path, ...]:
        """An arm's folders, in the order of its seeds."""
        return self.by_arm[arm], *self.more.get(arm, ())

    def seeds(self) -> dict[Arm, int]:
        """How many adapters each arm has."""
        return {arm: len(self.all_of(arm)) for arm in self.by_arm}

    def of_seed(self, seed: int) -> dict[Arm, Path]:
        """The adapter with this place, of the arms that have so many."""
        return {arm: self.all_of(arm)[seed] for arm, count in self.seeds().items()
                if seed < count}

    def hashes(self) -> dict[str, tuple[str, ...]]:
        """SHA-256 of the weights by arm, in the order of its seeds."""
        known = {folder: sha256_file(folder / "adapter_model.safetensors")
                 for arm in self.by_arm for folder in dict.fromkeys(self.all_of(arm))}
        return {arm: tuple(known[folder] for folder in self.all_of(arm)) for arm in self.by_arm}


def find_adapters(settings: Settings, arms: Sequence[Arm],
                  questions: Sequence[Question]) -> Adapters:
    """The adapters that the tuned ones of `arms` answer with.

    Raises:
        SettingsError: an arm has none, two arms would be one and the same, or an arm's adapters
            are not one training with several seeds.
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
    more = _more(settings, tuned)
    once = list(dict.fromkeys([*folders.values(), *(path for arm in more for path in more[arm])]))
    if len({trained_as(folder)["quantization"] for folder in once}) > 1:
        raise SettingsError("the adapters were trained on differently quantised bases",
                            where="compare.adapter_rag", mend="Train one of them anew")
    # Several seeds have one set of examples.
    leaks = dict.fromkeys(line for folder in once for line in refuse_leakage(folder, questions))
    found = Adapters(folders, (*_notes(folders), *leaks), more)
    _refuse_shared(found)
    for arm in tuned:
        refuse_unlike(found.all_of(arm), _setting(arm, other))
    return found


def _setting(arm: Arm, other: str | None) -> str:
    return f"compare.more_adapters{'_rag' if arm == _WITH_PASSAGES and other else ''}"


def _more(settings: Settings, tuned: Sequence[Arm]) -> dict[Arm, tuple[Path, ...]]:
    """By arm, the folders of its further adapters; arms without any are left out."""
    from phi3kit.models.adapters import adapter_folder

    chosen = settings.compare
    if chosen.more_adapters_rag and not chosen.adapter_rag:
        raise SettingsError("there is no first one", where="compare.more_adapters_rag",
                            mend="Name it in compare.adapter_rag, or give all with --adapter-rag")
    paths = {arm: chosen.more_adapters_rag if arm == _WITH_PASSAGES and chosen.adapter_rag
             else chosen.more_adapters for arm in tuned}
    return {arm: tuple(map(adapter_folder, own)) for arm, own in paths.items() if own}


def _refuse_shared(adapters: Adapters) -> None:
    """An adapter that stands twice is one; lists that share some are neither one nor two."""
    hashes = adapters.hashes()
    for arm, own in hashes.items():
        twice = next((place for place, key in enumerate(own) if key in own[:place]), None)
        if twice is not None:
            raise SettingsError(
                "given twice, or the same weights as another one",
                where=str(adapters.all_of(arm)[twice]),  # type: ignore[arg-type]
                mend="Give each once; other weights come from `phi3kit finetune --seed`")
    for one, other in itertools.combinations(dict.fromkeys(hashes.values()), 2):
        if max(len(one), len(other)) > 1 and set(one) & set(other):
            raise SettingsError(
                "an adapter stands in both lists, which are not the same",
                where="compare.more_adapters_rag",
                mend="Give other runs with --adapter-rag than with --adapter, or leave it out")


def _refuse_server(settings: Settings, tuned: Sequence[Arm], arms: Sequence[Arm]) -> None:
    if settings.model.endpoint is not None:
        raise SettingsError(
            f"{' and '.join(tuned)} {'puts' if len(tuned) == 1 else 'put'} an adapter on the "
            "model, which a server's does not take",
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
    examples = training_data(adapter, state)
    if examples is None:
        return None
    return any(question_in(m["content"]) is not None for example in examples
               for m in example.messages if m["role"] == "user")
