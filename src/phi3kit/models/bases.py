"""Base models by name: where one is, what identifies it, what its configuration says.

No weights are loaded here: see `loading`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from phi3kit.errors import ModelError, first_line
from phi3kit.files import expanded, sha256_bytes
from phi3kit.models import packaged
from phi3kit.models.catalog import CATALOG, find
from phi3kit.models.hashes import remembered_sha256
from phi3kit.models.out_of_memory import is_out_of_memory
from phi3kit.models.quiet import hush
from phi3kit.models.reading import reading_of


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
    folder = expanded(name)
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
        return fingerprint_folder(base)
    return f"hub:{base}@{commit(base, wanted)}"


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
    config = explained(str(base), lambda: AutoConfig.from_pretrained(
        base, revision=wanted, trust_remote_code=False))
    found = str(config.dtype).removeprefix("torch.")
    if config.dtype is None:
        found = _first_dtype(base if isinstance(base, Path) else
                             hub_config(base, wanted, cached_first=True).parent)
    return found if found in ("float32", "float16") else "bfloat16"


def _first_dtype(folder: Path) -> str:
    """The type of the first tensor in a folder's safetensors, "" where there is none."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 - it is no mapping
                return {"F32": "float32", "F16": "float16"}.get(
                    tensors.get_slice(key).get_dtype(), "")
    return ""


def attends_by(config: Any) -> str:
    """The attention to load a causal language model with: torch's, or its own where it has none.

    As transformers names them: "sdpa", or "eager" for Gemma 2, gpt-oss, BLOOM and a few more.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return "sdpa" if getattr(kind, "_supports_sdpa", True) else "eager"


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
    config = explained(str(base), lambda: AutoConfig.from_pretrained(
        base, revision=wanted, local_files_only=True, trust_remote_code=False))
    try:
        return config, GenerationConfig.from_pretrained(base, revision=wanted,
                                                        local_files_only=True)
    except OSError:  # it has none
        return config, None


def explained(where: str, load: Callable[[], Any]) -> Any:
    """What `load` returns; the libraries' errors become one line, but for memory that ended.

    Args:
        where: the base, as the line names it.
        load: reads a configuration or weights.

    Raises:
        ModelError: it cannot be read.
    """
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


def fingerprint_folder(folder: Path) -> str:
    """The identity of the weights in a folder; see `fingerprint`.

    Raises:
        ModelError: an adapter, no configuration, or no safetensors.
    """
    parts = [f"{path.name}:{remembered_sha256(path)}" for path in _weight_files(folder)]
    return f"sha256:{sha256_bytes(chr(10).join(parts).encode())}"


def commit(hub_id: str, revision: str | None) -> str:
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
