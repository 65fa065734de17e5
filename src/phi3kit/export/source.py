"""What a run of `finetune` left, as an export needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from phi3kit import runs
from phi3kit.errors import DataError, RunError
from phi3kit.export.unfinished import to_finish
from phi3kit.models.catalog import find
from phi3kit.settings import ModelSettings, Settings, recorded

# Settings that name files and folders of the run.
_PATHS = ("finetune.dataset", "compare.questions", "ingest.store")


@dataclass(frozen=True, slots=True)
class Source:
    """A finished run.

    Attributes:
        run: its folder.
        method: how it was trained.
        base: name of the base, as it was asked for by.
        trained: settings that load the model as it was trained; a base without its adapter.
        whole: settings that load the base in 16 or 32 bits, or the model that trained whole.
        adapter: the adapter's folder; None after full fine-tuning.
        instruction: the system message that it was trained with.
        dataset: the file that it was trained on, if the record tells; `sha256` is what it had
            then, and `left_out` the lines of it that were not trained on.
        questions: the file of held-out questions in its settings, if any.
        index: what its passages came from, as `Retriever.fingerprint` has it; "" without.
        max_tokens: the longest example that it was trained on.
        settings: those of the run, with paths that are found from any folder.
    """

    run: Path
    method: Literal["lora", "qlora", "full"]
    base: str
    trained: ModelSettings
    whole: ModelSettings
    adapter: Path | None
    instruction: str
    dataset: Path | None
    sha256: str
    left_out: frozenset[int]
    questions: Path | None
    index: str
    max_tokens: int
    settings: Settings


def read_source(run: Path, settings: Settings) -> Source:
    """What `run` holds; device and, for what is written, the type come from `settings.model`.

    Raises:
        RunError: no run of `finetune`, or one that is not finished.
        ModelError: adapter or base are missing.
    """
    run = run if run.name else run.resolve()  # ".": the export is named after the folder
    state = runs.read_run(run)
    if state.get("kind") != "finetune":
        raise RunError("this is no run of finetune", where=str(run),
                       mend="Give a folder that `phi3kit finetune` made")
    if state["status"] != "complete":
        raise RunError("training is not finished", where=str(run),
                       mend=f"Finish it: {to_finish(run, state)}")
    try:
        return _source(run, state, settings)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        why = f"no {error} in it" if isinstance(error, KeyError) else error
        raise RunError(f"its run.json is damaged ({why})", where=str(run),
                       mend="Train it again with --fresh") from error


def _source(run: Path, state: dict[str, Any], settings: Settings) -> Source:
    from phi3kit.models.adapters import adapter_folder, trained_as

    own = _recorded(run, state)
    trained_in = str(state["inputs"]["dtype"])
    method: Literal["lora", "qlora", "full"] = state["result"]["method"]
    adapter = None if method == "full" else adapter_folder(run)
    record = _whole_record(run) if adapter is None else trained_as(adapter)
    name = str(run / "model") if adapter is None else _base(run, state, record)
    revision = None if adapter is None else record.get("revision")
    return Source(
        run=run, method=method, base=str(record["base"]),
        trained=_model(settings, name, revision, trained_in,
                       "nf4" if method == "qlora" else "none"),
        whole=_model(settings, name, revision, _written_type(settings, name, revision), "none"),
        adapter=adapter, instruction=str(record.get("instruction") or ""),
        dataset=_path(own.finetune.dataset), sha256=str(state["inputs"]["dataset"]),
        left_out=frozenset(int(skipped["where"].rpartition(":")[2])
                           for skipped in state["result"]["skipped"]),
        questions=_path(own.compare.questions), index=str(state["inputs"].get("index", "")),
        max_tokens=int(state["inputs"]["finetune"]["max_tokens"]), settings=own)


def _base(run: Path, state: dict[str, Any], record: dict[str, Any]) -> str:
    """The base that an adapter was trained on; a folder's name is found from any folder."""
    name = str(record["base"])
    if str(record["fingerprint"]).startswith("sha256:") and find(name) is None:
        return str(runs.recorded_path(run, state, name))
    return name


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None


def _model(settings: Settings, name: str, revision: str | None, dtype: str,
           quantization: Literal["none", "nf4"]) -> ModelSettings:
    return msgspec.convert({
        **msgspec.to_builtins(settings.model), "name": name, "revision": revision,
        "dtype": dtype, "quantization": quantization, "endpoint": None}, ModelSettings)


def _written_type(settings: Settings, name: str, revision: str | None) -> str:
    """The type that is asked for, else the one that the base's own weights have."""
    from phi3kit.models.bases import stored_dtype

    wanted = settings.model.dtype
    return stored_dtype(name, revision) if wanted == "auto" else wanted


def _recorded(run: Path, state: dict[str, Any]) -> Settings:
    """The settings of the run, with files and folders that are found from any folder."""
    named = recorded.flat(state)
    return recorded.read(state, {
        key: str(runs.recorded_path(run, state, given)) for key in _PATHS
        if (given := named.get(key)) and "://" not in given})


def _whole_record(run: Path) -> dict[str, Any]:
    path = run / "model" / "phi3kit.json"
    try:
        return dict(msgspec.json.decode(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read ({error})", where=str(path),
                        mend="Train the model again") from error
