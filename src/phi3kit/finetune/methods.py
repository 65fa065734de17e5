"""What trains: an adapter of one kind or another, or the whole model."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from phi3kit.errors import ModelError, SettingsError
from phi3kit.files import flush, flush_tree, write_json
from phi3kit.models.hardware import emulates, pick_dtype
from phi3kit.progress import note
from phi3kit.settings import FinetuneSettings, ModelSettings

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded

# Two ways that exclude each other, and why.
_APART = (
    ("full", "qlora", "4-bit weights cannot be trained themselves"),
    ("full", "dora", "there is no adapter"),
    ("full", "rslora", "there is no adapter"),
    ("full", "pissa", "there is no adapter"),
    ("full", "loftq", "there is no adapter"),
    ("dora", "pissa", "a DoRA adapter cannot be rewritten for the unchanged base"),
    ("dora", "loftq", "DoRA's lengths belong to an adapter that begins at zero"),
    ("qlora", "pissa", "what PiSSA leaves of the base would have to be rounded anew, and the "
                       "adapter would fit no other base; loftq is made for 4 bits"),
)


def variants(own: FinetuneSettings) -> tuple[str, ...]:
    """What is not plain LoRA in these settings: "rslora", "dora", "pissa", "loftq"."""
    chosen = {"rslora": own.rslora, "dora": own.dora, own.init: own.init != "default"}
    return tuple(name for name, on in chosen.items() if on)


def method(own: FinetuneSettings) -> Literal["lora", "qlora", "full"]:
    """The way to train that the settings name."""
    return "full" if own.full else "qlora" if own.qlora else "lora"


def refuse_contradictions(own: FinetuneSettings) -> None:
    """Tell of settings that cannot go together, before anything is loaded.

    Raises:
        SettingsError: names both settings and why they exclude each other.
    """
    on = {name for name in ("full", "qlora", "dora", "rslora") if getattr(own, name)}
    for one, other, why in _APART:
        if {one, other} <= on | {own.init}:
            raise SettingsError(f"not together with {_key(other)}: {why}", where=_key(one),
                                mend="Choose one of the two")
    if own.init == "loftq" and not own.qlora:
        raise SettingsError("loftq repairs what 4-bit rounding lost, and nothing is rounded",
                            where="finetune.init", mend="Add qlora, or choose default or pissa")


def _key(name: str) -> str:
    return f"finetune.init: {name}" if name in ("pissa", "loftq") else f"finetune.{name}"


def computes_in(wanted: str, device: str, *, full: bool) -> str:
    """The arithmetic that `model.dtype` stands for: "bfloat16", "float16" or "float32".

    On a CPU "auto" is float32 for whole models, whatever the CPU is fast at: casting every weight
    in each pass costs more than bfloat16 saves.
    """
    if full and wanted == "auto" and device == "cpu":
        return "float32"
    return pick_dtype(wanted, device)


def load(model: ModelSettings, own: FinetuneSettings, *, sharded: bool = False) -> Loaded:
    """The base, ready to train or to take an adapter.

    Whole models are held in float32, for bfloat16's 8 bits swallow small updates; the
    arithmetic is `model.dtype` all the same, see `arithmetic` and `Loaded.dtype`.

    Args:
        model: the base, its device and its arithmetic.
        own: the way to train.
        sharded: load into host memory, whatever the device: no card has to hold all of it.

    Raises:
        ModelError: the base cannot be loaded, or not be trained in this arithmetic.
    """
    from phi3kit.models.hardware import pick_device
    from phi3kit.models.loading import load_base

    device = pick_device(model.device)
    dtype = computes_in(model.dtype, device, full=own.full)
    if dtype == "float16" and device != "cuda":
        raise ModelError("float16 gradients vanish without a loss scale, which is there on CUDA "
                         "only", where="model.dtype", mend="Use bfloat16 or float32")
    if emulates(dtype, device):  # torch's attention holds whole squares there, too
        note("this card has no bfloat16: it is emulated, slowly, in more memory "
             "(model.dtype: auto takes float16)")
    if sharded:
        model = msgspec.structs.replace(model, device="cpu", dtype=dtype)
    if own.full:
        loaded = load_base(msgspec.structs.replace(model, dtype="float32"), quantization="none",
                           training=True)
        loaded.dtype = dtype
        loaded.model.train()
        return loaded
    return load_base(model, quantization="nf4" if own.qlora else "none", training=True,
                     sharded=sharded)


def arithmetic(loaded: Loaded, own: FinetuneSettings) -> contextlib.AbstractContextManager[Any]:
    """What a loss of `loaded` is computed in.

    Autocast to `loaded.dtype` where the whole model trains, for its weights are float32. The
    weights of a frozen base have the type of the arithmetic already.
    """
    if not own.full or loaded.dtype == "float32":
        return contextlib.nullcontext()
    import torch

    found: contextlib.AbstractContextManager[Any] = torch.autocast(
        loaded.device, dtype=getattr(torch, loaded.dtype))
    return found


def add_adapter(loaded: Loaded, own: FinetuneSettings) -> None:
    """Put the adapter of the settings on the base; nothing where the whole model trains.

    The base's own dropout ends with it.
    """
    from phi3kit.models.adapters import add_lora
    from phi3kit.models.dropout import switch_off

    if not own.full:
        # A base that does not learn needs none. Masks come from one generator in the order of the
        # calls, and micro-batches that are computed side by side would draw them in any.
        if off := switch_off(loaded.model):
            note(f"the base's own dropout ({', '.join(off)}) is off while its adapter trains; "
                 "finetune.dropout sets the adapter's")
        add_lora(loaded, rank=own.rank, alpha=own.alpha, dropout=own.dropout, seed=own.seed,
                 rslora=own.rslora, dora=own.dora, init=own.init)


def is_saved(run: Path) -> bool:
    """Whether a run folder holds what was trained."""
    return (run / "adapter" / "adapter_config.json").is_file() or (
        run / "model" / "config.json").is_file()


def save(loaded: Loaded, own: FinetuneSettings, run: Path, *, instruction: str) -> None:
    """Write the adapter to `<run>/adapter`, or the whole model to `<run>/model`.

    A whole model is written in the type of its arithmetic, as safetensors with its tokenizer,
    whole or not at all.
    """
    if not own.full:
        from phi3kit.models import adapters

        adapters.save(loaded, run / "adapter", run=run.name, instruction=instruction)
        return
    import torch

    folder = run / "model"
    staging = Path(tempfile.mkdtemp(dir=run, prefix=".model."))
    try:
        loaded.model.to(getattr(torch, loaded.dtype))
        loaded.model.save_pretrained(staging)
        loaded.tokenizer.save_pretrained(staging)
        write_json(staging / "phi3kit.json", {
            "base": loaded.name, "fingerprint": loaded.fingerprint, "run": run.name,
            "instruction": instruction})
        staging.chmod(0o755)
        flush_tree(staging)
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
        flush(run)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
