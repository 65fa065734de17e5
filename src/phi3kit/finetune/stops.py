"""Why a training would stop before it loads the model: data, collection, --strict, --resume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from phi3kit import runs
from phi3kit.dataset.check import check
from phi3kit.dataset.digest import refuse_counts, refuse_left_out
from phi3kit.dataset.examples import Example, Examples
from phi3kit.dataset.prompts import with_passages
from phi3kit.errors import DataError, ModelError, Phi3kitError
from phi3kit.finetune.identity import inputs_ahead, refuse_changed
from phi3kit.finetune.train import usable
from phi3kit.models.bases import fingerprint_folder, resolve_base
from phi3kit.rag.retrieve import open_filled
from phi3kit.settings import ModelSettings, Settings

# What the identity of a run has that is seen when training starts only: the model's files, where
# they are on the hub, and the collection.
_LATER = ("base", "reads", "index", "passages", "min_similarity")


def stops(settings: Settings, *, strict: bool = False,
          resume: Path | None = None) -> tuple[str, ...]:
    """One line each; nothing where no dataset is named, which is told elsewhere.

    Args:
        strict: look for what `--strict` stops at too; passages are not among it.
        resume: the run folder that would have to go on.
    """
    if settings.finetune.dataset is None:
        return ()
    try:
        data, kept, _ = usable(settings)
    except DataError as error:
        return (str(error),)
    looks: list[Callable[[], None]] = [lambda: _searched(settings, kept)]
    if resume is not None:
        looks.append(lambda: _resumed(settings, resume, data, kept))
    if strict:
        looks.append(lambda: _strictly(settings))
    found: list[str] = []
    for look in looks:
        try:
            look()
        except Phi3kitError as error:
            found.append(str(error))
    return tuple(found)


def _searched(settings: Settings, kept: Sequence[Example]) -> None:
    """Whether passages can be looked up, as far as it is seen without the embedder."""
    own = settings.finetune
    if with_passages(kept, own.passages, seed=own.seed):
        open_filled(settings.ingest).close()


def _resumed(settings: Settings, resume: Path, data: Examples, kept: Sequence[Example]) -> None:
    state = runs.read_run(resume)
    before = state.get("inputs") or {}
    inputs = {**{key: before[key] for key in _LATER if key in before},
              **inputs_ahead(settings, data, kept)}
    if base := _base_here(settings.model):
        inputs["base"] = base
    refuse_changed(resume, inputs)


def _base_here(model: ModelSettings) -> str | None:
    """The identity of a base that is a folder; of others it is seen when training starts."""
    try:
        base, _ = resolve_base(model.name, model.revision)
        return fingerprint_folder(base) if isinstance(base, Path) else None
    except ModelError:  # the look at the model tells it
        return None


def _strictly(settings: Settings) -> None:
    try:
        seen = check(settings)
    except ModelError:  # likewise
        return
    refuse_left_out(seen.skipped)
    refuse_counts(seen.leaks, len(seen.conflicts), seen.lengths, where=seen.source)
