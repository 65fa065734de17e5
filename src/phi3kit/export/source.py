"""What a run of `finetune` left, as an export needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from phi3kit import runs
from phi3kit.errors import DataError, RunError
from phi3kit.settings import ModelSettings, Settings


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
        dataset: the file that it was trained on, if the record tells.
        max_tokens: the longest example that it was trained on.
    """

    run: Path
    method: Literal["lora", "qlora", "full"]
    base: str
    trained: ModelSettings
    whole: ModelSettings
    adapter: Path | None
    instruction: str
    dataset: Path | None
    max_tokens: int


def read_source(run: Path, settings: Settings) -> Source:
    """What `run` holds; device and, for what is written, the type come from `settings.model`.

    Raises:
        RunError: no run of `finetune`, or one that is not finished.
        ModelError: adapter or base are missing.
    """
    from phi3kit.models.adapters import adapter_folder, trained_as

    state = runs.read_run(run)
    if state.get("kind") != "finetune":
        raise RunError("this is no run of finetune", where=str(run),
                       mend="Give a folder that `phi3kit finetune` made")
    if state["status"] != "complete":
        raise RunError("training is not finished", where=str(run),
                       mend=f"Finish it: phi3kit finetune --resume {run}")
    values, own = _values(state["settings"]), state["inputs"]["finetune"]
    trained_in = str(state["inputs"]["dtype"])
    method: Literal["lora", "qlora", "full"] = state["result"]["method"]
    adapter = None if method == "full" else adapter_folder(run)
    record = _whole_record(run) if adapter is None else trained_as(adapter)
    name = str(run / "model") if adapter is None else str(record["base"])
    revision = None if adapter is None else record.get("revision")
    dataset = values.get("finetune.dataset")
    return Source(
        run=run, method=method, base=str(record["base"]),
        trained=_model(settings, name, revision, trained_in,
                       "nf4" if method == "qlora" else "none"),
        whole=_model(settings, name, revision, _written_type(settings, name, revision), "none"),
        adapter=adapter, instruction=str(record.get("instruction") or ""),
        dataset=Path(dataset) if dataset else None, max_tokens=int(own["max_tokens"]))


def _model(settings: Settings, name: str, revision: str | None, dtype: str,
           quantization: Literal["none", "nf4"]) -> ModelSettings:
    return msgspec.convert({
        **msgspec.to_builtins(settings.model), "name": name, "revision": revision,
        "dtype": dtype, "quantization": quantization, "endpoint": None}, ModelSettings)


def _written_type(settings: Settings, name: str, revision: str | None) -> str:
    """The type that is asked for, else the one that the base's own weights have."""
    from phi3kit.models.loading import stored_dtype

    wanted = settings.model.dtype
    return stored_dtype(name, revision) if wanted == "auto" else wanted


def _values(recorded: dict[str, Any]) -> dict[str, Any]:
    """Dotted key to value, from either form in which run.json keeps settings."""
    from phi3kit.settings import flatten

    if "values" in recorded:
        return flatten(recorded["values"])
    return {key: entry["value"] for key, entry in recorded.items()}


def _whole_record(run: Path) -> dict[str, Any]:
    path = run / "model" / "phi3kit.json"
    try:
        return dict(msgspec.json.decode(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read ({error})", where=str(path),
                        mend="Train the model again") from error
