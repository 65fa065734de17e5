"""Base models: from a name to weights in memory. The only file that loads them.

Safetensors only and no code from the hub: a checkpoint can be wrong here, never run.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from phi3kit.errors import ModelError, first_line
from phi3kit.files import sha256_bytes
from phi3kit.models import four_bit, packaged
from phi3kit.models.catalog import CATALOG, ModelSpec, find
from phi3kit.models.chat import turn_end
from phi3kit.models.hardware import pick_device, pick_dtype
from phi3kit.models.hashes import remembered_sha256
from phi3kit.models.out_of_memory import is_out_of_memory, out_of_memory
from phi3kit.models.quiet import hush
from phi3kit.models.reading import reading_of
from phi3kit.settings import ModelSettings

Quantization = Literal["none", "nf4"]


@dataclass
class Loaded:
    """A model in memory, with what identifies it.

    Attributes:
        model: the transformers model; a PeftModel once an adapter is attached.
        tokenizer: its tokenizer, padding on the left.
        name: the name that it was asked for by.
        fingerprint: identity of the weights; see `fingerprint`.
        quantization: "nf4" when the weights have been rounded to NF4 values, even where
            they are held in a wider type for speed.
        dtype: "bfloat16", "float16" or "float32", the type of the arithmetic.
        device: "cpu", "cuda" or "mps".
        spec: the catalog's entry; None for models that it does not know.
        context: longest sequence in tokens, prompt and answer together.
        folded: the adapter that has been added into the weights; None without one, or when
            it is kept apart from them (see `adapters.attach`).
        start: the weights that a PiSSA adapter began with, which the base is now without.
        reads: identity of template, tokenizer and configuration; see `reading`.
    """

    model: Any
    tokenizer: Any
    name: str
    fingerprint: str
    quantization: Quantization
    dtype: str
    device: str
    spec: ModelSpec | None
    context: int
    folded: Any = None
    start: Any = None
    reads: Mapping[str, str] = field(default_factory=dict)


def resolve_base(name: str, revision: str | None = None) -> tuple[str | Path, str | None]:
    """Where a base model is: a folder, or a hub id with the revision to load.

    A catalog name goes before a folder of the same name; "./phi-4" is always a folder.

    Raises:
        ModelError: no such folder, no such name, or a model that cannot be loaded.
    """
    spec = find(name)
    if spec is not None:
        if not spec.loadable:
            raise ModelError(f"{spec.name} can be planned for, not loaded: its architecture is "
                             "code from the hub, which phi3kit does not run",
                             mend="Use phi-3-mini or phi-3-medium")
        # The full hub id asks for the hub's weights, the short name for the packaged ones.
        if spec.packaged and "/" not in name:
            return packaged.smollm2(), None
        return spec.hub_id or spec.name, revision or spec.revision
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder, None
    if is_hub_id(name):
        return name, revision
    near = difflib.get_close_matches(name.lower(), CATALOG, n=1)
    raise ModelError(f"no folder and no known model '{name}'",
                     mend=f"Did you mean '{near[0]}'?" if near else
                     f"Give a folder, a hub id (owner/name), or one of: {', '.join(CATALOG)}")


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a hub id, owner/name."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) is not None


def fingerprint(name: str, revision: str | None = None) -> str:
    """The identity of a base model's weights.

    "sha256:…" over the safetensors files of a folder (their hashes are cached by path, size
    and modification time), "hub:<id>@<commit>" for a hub model.

    Raises:
        ModelError: as `resolve_base`; no safetensors; hub not reachable.
    """
    base, wanted = resolve_base(name, revision)
    if isinstance(base, Path):
        return _fingerprint_folder(base)
    return f"hub:{base}@{_commit(base, wanted)}"


def reading(name: str, revision: str | None = None) -> dict[str, str]:
    """The identity of a base's chat template, tokenizer and configuration, by these names.

    Nothing for a hub model: its fingerprint names the commit, which stands for them too.

    Raises:
        ModelError: as `resolve_base`; a file that is no JSON.
    """
    base, _ = resolve_base(name, revision)
    return reading_of(base) if isinstance(base, Path) else {}


def stored_dtype(name: str, revision: str | None = None) -> str:
    """The type that a model's weights are stored in: "float32", "float16" or "bfloat16".

    Raises:
        ModelError: as `resolve_base`; no configuration that can be read.
    """
    from transformers import AutoConfig

    base, wanted = resolve_base(name, revision)
    config = _explained(str(base), lambda: AutoConfig.from_pretrained(
        base, revision=wanted, trust_remote_code=False))
    found = str(config.dtype).removeprefix("torch.")
    return found if found in ("float32", "float16") else "bfloat16"


def is_here(name: str, revision: str | None = None) -> bool:
    """Whether a base's config.json is on this machine.

    Raises:
        ModelError: as `resolve_base`.
    """
    base, wanted = resolve_base(name, revision)
    if isinstance(base, Path):
        return (base / "config.json").is_file()
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(base, "config.json", revision=wanted), str)


def local_configs(name: str, revision: str | None = None) -> tuple[Any | None, Any | None]:
    """A base's configuration and the one for generating, where they are here: no hub is asked.

    Returns:
        None for what is not here.

    Raises:
        ModelError: as `resolve_base`; a config.json that cannot be read, or of an architecture
            that transformers does not have.
    """
    from transformers import AutoConfig, GenerationConfig

    hush()
    base, wanted = resolve_base(name, revision)
    if not is_here(name, revision):
        return None, None
    config = _explained(str(base), lambda: AutoConfig.from_pretrained(
        base, revision=wanted, local_files_only=True, trust_remote_code=False))
    try:
        return config, GenerationConfig.from_pretrained(base, revision=wanted,
                                                        local_files_only=True)
    except OSError:  # it has none
        return config, None


def load_base(settings: ModelSettings, *, quantization: Quantization,
              training: bool = False, sharded: bool = False) -> Loaded:
    """Load a base model and its tokenizer, ready to answer or to take an adapter.

    With "nf4" the linear layers (not the output layer) are rounded to 4-bit NormalFloat with
    double quantisation (Dettmers et al. 2023, QLoRA). On a CPU that only answers, the rounded
    values are then held in `dtype`: the very weights that QLoRA trained on, at the speed of
    an unquantised model.

    Args:
        training: whether it will be trained on, and not answer.
        sharded: whether its weights will be shared out over processes. Only floating-point
            ones can be, so 4-bit ones are packed into `dtype`.

    Raises:
        ModelError: unknown name, hub not reachable, pickled, damaged or incomplete weights,
            an architecture that transformers does not have, a device that is not there;
            OutOfMemoryError, which is one too, where it does not fit.
    """
    if settings.endpoint is not None:
        raise ModelError("the model is on a server, and this needs its weights here",
                         where="model.endpoint",
                         mend="Leave out model.endpoint and name a local model with --model")
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    hush()
    device = pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    base, revision = resolve_base(settings.name, settings.revision)
    if isinstance(base, Path):
        identity = _fingerprint_folder(base)
    else:
        revision = _commit(base, revision)
        identity = f"hub:{base}@{revision}"
    common: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    extra: dict[str, Any] = {}
    if quantization == "nf4":
        extra["quantization_config"] = four_bit.config(
            getattr(torch, dtype), device, packed_as=getattr(torch, dtype if sharded else "uint8"))

    def load() -> tuple[Any, Any, dict[str, Any]]:
        config = AutoConfig.from_pretrained(base, **common)
        tokenizer = AutoTokenizer.from_pretrained(base, **common)
        model, info = AutoModelForCausalLM.from_pretrained(
            base, config=config, dtype=getattr(torch, dtype), use_safetensors=True,
            attn_implementation="sdpa", device_map={"": device}, output_loading_info=True,
            **common, **extra)
        return model, tokenizer, info

    with out_of_memory(f"loading {settings.name} in {_in_words(quantization, dtype)}",
                       lambda: _smaller(settings, quantization, dtype, device,
                                        training=training), device=device):
        model, tokenizer, info = _explained(str(base), load)
        _refuse_incomplete(str(base), info)
        if quantization == "nf4" and device == "cpu":
            if not training:
                four_bit.hold_dequantized(model, getattr(torch, dtype))
            four_bit.let_go_of_files(model)
    tokenizer.padding_side = "left"
    settle_padding(tokenizer)
    model.eval()
    return Loaded(
        model=model, tokenizer=tokenizer, name=settings.name, fingerprint=identity,
        quantization=quantization, dtype=dtype, device=device, spec=find(settings.name),
        context=context_of(model.config, settings.name),
        reads=reading_of(base) if isinstance(base, Path) else {})


def context_of(config: Any, name: str) -> int:
    """The longest sequence in tokens, prompt and answer together.

    Raises:
        ModelError: it is not told, as with models that take pictures too: what they need beside
            the tokens is not given here.
    """
    holds = getattr(config, "max_position_embeddings", None)
    if not isinstance(holds, int):
        raise ModelError(f"its configuration ({config.model_type}) has no max_position_embeddings, "
                         "as one of a language model alone has", where=name,
                         mend="Use a model for text alone")
    return holds


def settle_padding(tokenizer: Any) -> None:
    """Pad with a token that ends no answer: who masks padding by it would mask the end too.

    Nothing here masks by the token, but other software does, and reads it from the tokenizer
    that is saved with a model.
    """
    try:
        end = turn_end(tokenizer)
    except ModelError:  # a template that is not for chats: told where one is to be put
        end = None
    trained = tokenizer.eos_token_id if end is None else end
    if tokenizer.pad_token_id not in (None, trained):
        return
    others = [tokenizer.unk_token_id, tokenizer.eos_token_id, *sorted(tokenizer.all_special_ids)]
    chosen = next((i for i in others if i is not None and i != trained), trained)
    if chosen is not None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(chosen)


def _explained(where: str, load: Callable[[], Any]) -> Any:
    """What `load` returns; the libraries' errors become one line."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    try:
        return load()
    except SafetensorError as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"damaged weights ({error})", where=where,
                         mend="Copy or download the model again") from error
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError,
            ImportError, StrictDataclassError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"the model cannot be loaded ({first_line(error)})", where=where,
                         mend="It must be a complete folder or hub model of an architecture "
                              "that transformers has") from error


def _in_words(quantization: Quantization, dtype: str) -> str:
    return "4-bit NF4" if quantization == "nf4" else dtype


def _smaller(settings: ModelSettings, quantization: Quantization, dtype: str, device: str, *,
             training: bool) -> str:
    """What to do about a base that does not fit."""
    ways = "take a smaller model; `phi3kit plan` tells what fits"
    if device == "cuda" and quantization == "none":
        flag = "--qlora without --full" if training else "model.quantization: nf4"
        return f"Use {flag}, for about a quarter of it, or {ways}"
    # Where float32 is asked for, as --full does, it is meant.
    if device == "cpu" and dtype == "float32" and settings.dtype == "auto":
        return f"Set model.dtype to bfloat16, for half of it, or {ways}"
    return f"T{ways[1:]}"


def _refuse_incomplete(where: str, info: dict[str, Any]) -> None:
    # transformers fills missing tensors with random numbers and goes on.
    missing = sorted(info.get("missing_keys") or ())
    if missing:
        raise ModelError(f"{len(missing)} weights are missing, '{missing[0]}' first", where=where,
                         mend="Copy or download the model again")


def _weight_files(folder: Path) -> list[Path]:
    if (folder / "adapter_config.json").is_file():
        raise ModelError("this is an adapter, not a base model", where=str(folder),
                         mend="Give its base as the model and this folder as --adapter")
    if not (folder / "config.json").is_file():
        raise ModelError("no config.json in the model's folder", where=str(folder),
                         mend="Give the folder that save_pretrained wrote")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError("no *.safetensors in the model's folder; pickled weights (.bin, .pt) "
                         "can run code and are refused", where=str(folder),
                         mend="Save the model again with safetensors")
    return files


def _fingerprint_folder(folder: Path) -> str:
    parts = [f"{path.name}:{remembered_sha256(path)}" for path in _weight_files(folder)]
    return f"sha256:{sha256_bytes(chr(10).join(parts).encode())}"


def _commit(hub_id: str, revision: str | None) -> str:
    """The commit that `revision` (None: the newest) of a hub model stands for.

    The model's config.json is fetched for it; without a network the cached one tells.
    """
    return hub_config(hub_id, revision).parent.name


def hub_config(hub_id: str, revision: str | None, *, cached_first: bool = False) -> Path:
    """config.json of a hub model, in the snapshot of `revision` (None: the newest).

    Without a network the cached one.

    Args:
        cached_first: take a cached one without asking the hub whether there is a newer.

    Raises:
        ModelError: no such model or revision, no access, or neither network nor cache.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hush()
    ways_out = ("Use a cached model (HF_HUB_OFFLINE=1), a local folder, or the packaged "
                "smollm2-135m")
    if cached_first:
        cached = try_to_load_from_cache(hub_id, "config.json", revision=revision)
        if isinstance(cached, str):
            return Path(cached)
    try:
        return Path(hf_hub_download(hub_id, "config.json", revision=revision))
    except GatedRepoError as error:
        raise ModelError("the hub gives this model only to users who accepted its terms",
                         where=hub_id, mend="Accept them on its page and run: hf auth "
                                            "login") from error
    except RevisionNotFoundError as error:
        raise ModelError(f"no revision '{revision}'", where=hub_id) from error
    except RepositoryNotFoundError as error:
        raise ModelError("the hub has no such model, or not for you", where=hub_id) from error
    except LocalEntryNotFoundError as error:
        raise ModelError("the model hub cannot be reached and the model is not cached",
                         where=hub_id, mend=ways_out) from error
    except EntryNotFoundError as error:
        raise ModelError("no config.json in the hub model", where=hub_id) from error
    except (OSError, ValueError) as error:  # includes the HTTP client's errors
        raise ModelError(f"the model hub cannot be reached ({first_line(error)})", where=hub_id,
                         mend=ways_out) from error
