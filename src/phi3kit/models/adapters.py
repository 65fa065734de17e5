"""LoRA adapters: made, saved with what they were trained on, attached to that and nothing else.

The only file that imports peft.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from phi3kit.errors import ModelError, first_line
from phi3kit.files import expanded, flush, flush_tree, write_json
from phi3kit.models import starts
from phi3kit.models.bases import resolve_base
from phi3kit.models.folding import Folded, folding
from phi3kit.models.hardware import free_memory
from phi3kit.models.linear import target_modules
from phi3kit.models.loading import Loaded
from phi3kit.models.quiet import hush
from phi3kit.models.reading import TEMPLATE, TOKENIZER
from phi3kit.settings import ModelSettings

Init = Literal["default", "pissa", "loftq"]

_BINDING = "phi3kit.json"
_WEIGHTS = "adapter_model.safetensors"
# What of the base's reading an adapter is bound to beside the weights. Not the configuration:
# another version of transformers may write the same one in other words.
_READS = (TEMPLATE, TOKENIZER)


def add_lora(loaded: Loaded, *, rank: int, alpha: int, dropout: float, seed: int,
             rslora: bool = False, dora: bool = False, init: Init = "default") -> Any:
    """Put a fresh LoRA adapter on `loaded.model`; only the adapter's weights train.

    LoRA adds `alpha / rank * B A x` to each target layer's output, with A random and B zero
    (Hu et al. 2021), so an untrained adapter changes nothing. A and B are float32 whatever
    the base is held in: bfloat16's 8 bits would swallow small updates. Nothing else is cast:
    the norms already compute in float32, and widening embeddings and output layer (as peft's
    preparation for 4-bit training does) costs memory and time for weights that stay frozen.

    Args:
        loaded: a base without an adapter; its `model` becomes the PeftModel.
        rank: columns of A; the adapter's capacity.
        alpha: numerator of the scale.
        dropout: on the adapter's input, 0 to 1.
        seed: of A's random values; the global generator is left as it was.
        rslora: scale by `alpha / sqrt(rank)` (Kalajdzievski 2023).
        dora: train each column's length apart from its direction (Liu et al. 2024).
        init: where A and B begin, see `starts`; "pissa" takes its part out of the base.

    Returns:
        The PeftModel, in training mode.

    Raises:
        ModelError: a target module that the model does not have, or that takes no adapter.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    hush()
    config = LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=alpha, lora_dropout=dropout,
        target_modules=list(target_modules(loaded)), bias="none", use_rslora=rslora,
        use_dora=dora, init_lora_weights="pissa" if init == "pissa" else True)
    devices = [torch.cuda.current_device()] if loaded.device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        try:
            model = get_peft_model(loaded.model, config, autocast_adapter_dtype=True)
        except ValueError as error:
            raise ModelError(f"no adapter can be put on the model ({first_line(error)})",
                             where=loaded.name, mend="Use --full or another model") from error
    loaded.model = model
    if init == "loftq":
        starts.loftq(loaded, model)
    elif init == "pissa":
        loaded.start = _weights(model)
    model.train()
    return model


def _weights(model: Any) -> starts.Start:
    """A copy of the adapter's weights, by the names that they have in its file."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


def save(loaded: Loaded, folder: Path, *, run: str, instruction: str) -> None:
    """Write the adapter on `loaded` to `folder`, whole or not at all, replacing an older one.

    Args:
        loaded: a model that `add_lora` prepared.
        folder: gets adapter_config.json, adapter_model.safetensors and phi3kit.json.
        run: name of the run that trained it.
        instruction: the system message that it was trained with.
    """
    import peft

    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        config = loaded.model.peft_config["default"]
        # Not the path of this machine's cache: what finds the base elsewhere.
        config.base_model_name_or_path = loaded.name
        # "auto" would ask the hub whether the vocabulary was resized; it never is.
        loaded.model.save_pretrained(staging, save_embedding_layers=False)
        if loaded.start is not None:
            starts.as_plain_lora(staging, loaded.start)
        write_json(staging / _BINDING, {
            "base": loaded.name,
            "revision": _revision(loaded),
            "fingerprint": loaded.fingerprint,
            "reads": {what: loaded.reads[what] for what in _READS if what in loaded.reads},
            "quantization": loaded.quantization,
            "run": run,
            "instruction": instruction,
            "peft": peft.__version__,
        })
        staging.chmod(0o755)
        flush_tree(staging)
        if folder.exists():
            shutil.rmtree(folder)
        staging.rename(folder)
        flush(folder.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _revision(loaded: Loaded) -> str | None:
    known = _of_hub(loaded.fingerprint)
    return None if known is None else known[1]


def adapter_folder(path: str | Path) -> Path:
    """The adapter's folder for a run folder of `finetune` or for the adapter folder itself.

    Raises:
        ModelError: there is no adapter, or its weights are not safetensors.
    """
    given = expanded(path)
    for folder in (given / "adapter", given):
        if (folder / "adapter_config.json").is_file():
            if not (folder / _WEIGHTS).is_file():
                raise ModelError(f"no {_WEIGHTS}; pickled adapters (.bin) can run code and are "
                                 "refused", where=str(folder),
                                 mend="Save the adapter again with safetensors")
            return folder
    if (given / "model" / "config.json").is_file():
        raise ModelError("this run trained the whole model and has no adapter", where=str(given),
                         mend=f"Use it as the base: --model {given / 'model'}")
    raise ModelError("no adapter here (no adapter_config.json)", where=str(given),
                     mend="Give the run folder that `phi3kit finetune` printed")


def trained_as(adapter: Path) -> dict[str, Any]:
    """What an adapter was trained on: base, revision, fingerprint, quantization, run, instruction.

    Raises:
        ModelError: the record is missing or damaged, so that nothing tells the base.
    """
    path = adapter_folder(adapter) / _BINDING
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"no {_BINDING} beside the adapter, so its base is not known",
                         where=str(path.parent),
                         mend="Use an adapter that `phi3kit finetune` made") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{_BINDING} cannot be read ({error})", where=str(path.parent),
                         mend="Train the adapter again") from error
    if not isinstance(record, dict) or not isinstance(record.get("fingerprint"), str) \
            or record.get("quantization") not in ("none", "nf4"):
        raise ModelError(f"{_BINDING} does not tell the base and its quantization",
                         where=str(path.parent), mend="Train the adapter again")
    return record


def pinned(settings: ModelSettings, adapter: Path | None) -> ModelSettings:
    """`settings`, with the commit that `adapter` was trained on where they name none.

    A hub model may have a newer one by now, and the adapter is bound to its own.

    Raises:
        ModelError: as `trained_as` and `resolve_base`.
    """
    if adapter is None or settings.revision is not None or settings.endpoint is not None:
        return settings
    known = _of_hub(trained_as(adapter)["fingerprint"])
    if known is None or known[0] != resolve_base(settings.name)[0]:
        return settings
    return msgspec.structs.replace(settings, revision=known[1])


def _of_hub(fingerprint: str) -> tuple[str, str] | None:
    """(hub id, commit); None for a folder."""
    kind, _, rest = fingerprint.partition(":")
    name, _, commit = rest.rpartition("@")
    return (name, commit) if kind == "hub" and name and commit else None


def attach(loaded: Loaded, adapter: Path) -> None:
    """Load a trained adapter onto `loaded`, for answering.

    On a CPU the adapter is folded into the weights (computed in float32, then rounded to the
    base's type), because its many small products slow prompts down several times; the base's
    own weights are kept beside them, so that `without_adapter` is exact. On a GPU too where
    it has the memory for both, and the weights are not 4-bit values; else it stays apart.

    Raises:
        ModelError: trained on another base, chat template or tokenizer; damaged,
            incomplete or foreign weights.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    hush()
    folder = adapter_folder(adapter)
    record = trained_as(folder)
    if record["fingerprint"] != loaded.fingerprint:
        was, now = _of_hub(record["fingerprint"]), _of_hub(loaded.fingerprint)
        raise ModelError(f"the adapter was trained on another base ({record.get('base')}, "
                         f"{_short(record['fingerprint'])}; this is {loaded.name}, "
                         f"{_short(loaded.fingerprint)})", where=str(folder),
                         mend=f"Set model.revision: {was[1]}" if was and now and was[0] == now[0]
                         else f"Answer with --model {record.get('base')} or train again")
    _refuse_other_reading(record, loaded, folder)
    try:
        with safe_open(folder / _WEIGHTS, framework="pt") as file:
            stored = set(file.keys())
        model = PeftModel.from_pretrained(loaded.model, str(folder), is_trainable=False)
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"the adapter cannot be loaded ({first[:200]})", where=str(folder),
                         mend="Copy it again or train again") from error
    # peft leaves layers whose weights are missing as they were made: random times zero.
    if stored != set(get_peft_model_state_dict(model, save_embedding_layers=False)):
        raise ModelError("the adapter's weights are not those of its configuration",
                         where=str(folder), mend="Copy it again or train again")
    model.eval()
    if _folds(loaded, model):
        loaded.folded = Folded(tuple(_folding(model)))
        loaded.model = model.unload()
        loaded.folded.show(adapted=True)
    else:
        loaded.model = model


def _folds(loaded: Loaded, model: Any) -> bool:
    """Whether the adapter is added into the weights, and the base's are kept beside them.

    On a card where half of what is free holds them: the adapter's own products are small, and
    to start them takes about as long for a token as the base's do.
    """
    if loaded.device == "cpu":
        return True
    free = free_memory(loaded.device)
    size = sum(layer.get_base_layer().weight.nbytes for layer in _adapted_layers(model))
    return loaded.quantization == "none" and free is not None and size <= free // 2


def _refuse_other_reading(record: dict[str, Any], loaded: Loaded, folder: Path) -> None:
    """The same weights may be shown other tokens than the adapter was trained on.

    Adapters of before this was recorded, and bases from the hub, have nothing to compare.
    """
    trained: Any = record.get("reads")
    for what in _READS if isinstance(trained, dict) else ():
        before, now = trained.get(what), loaded.reads.get(what)
        if before and now and before != now:
            raise ModelError(f"the adapter was trained with another {what} than {loaded.name} has "
                             "now", where=str(folder),
                             mend=f"Put the base's {what} back, or train again")


def detach(loaded: Loaded) -> None:
    """Take the adapter off `loaded` again; the base is what it was, and another one can go on."""
    if loaded.folded is not None:
        loaded.folded.show(adapted=False)
        loaded.folded = None
    elif is_adapted(loaded):
        loaded.model = loaded.model.unload()


def merge(loaded: Loaded) -> None:
    """Add the adapter on `loaded` into the base's weights for good: an ordinary model is left.

    The sum is rounded once, to the type of the base's weights.

    Raises:
        ModelError: the weights are 4-bit values.
    """
    if loaded.quantization != "none":
        raise ModelError("an adapter is not merged into 4-bit weights: the sum would be rounded "
                         "to 16 levels again, which loses most of what the adapter adds",
                         where=loaded.name, mend="Merge into the 16-bit base")
    if loaded.folded is not None:
        loaded.folded.show(adapted=True)
        loaded.folded = None
    elif is_adapted(loaded):
        for parameter, _, both in _folding(loaded.model):
            parameter.data = both
        loaded.model = loaded.model.unload()


def _folding(model: Any) -> Iterator[tuple[Any, Any, Any]]:
    return folding(_adapted_layers(model))


def _adapted_layers(model: Any) -> list[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def _short(fingerprint: str) -> str:
    return fingerprint if fingerprint.startswith("hub:") else fingerprint[:19]


def is_adapted(loaded: Loaded) -> bool:
    """Whether an adapter is on the model."""
    return loaded.folded is not None or hasattr(loaded.model, "peft_config")


@contextlib.contextmanager
def without_adapter(loaded: Loaded) -> Iterator[None]:
    """Answer with the base alone for a while, on the same weights in memory."""
    if loaded.folded is not None:
        loaded.folded.show(adapted=False)
        try:
            yield
        finally:
            loaded.folded.show(adapted=True)
    elif is_adapted(loaded):
        with loaded.model.disable_adapter():
            yield
    else:
        yield
