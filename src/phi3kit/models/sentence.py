"""Folders of sentence-transformers models: found, fetched, and refused when they could run code."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi3kit.errors import ModelError, first_line
from phi3kit.files import expanded, sha256_bytes
from phi3kit.models.hashes import remembered_sha256

# What loads each kind of model, by the name that a config gives code of its own for it.
_CLASSES = {"embedder": "AutoModel", "reranker": "AutoModelForSequenceClassification"}
_PATTERNS = ("*.json", "*.txt", "*.safetensors", "*.model")


def sentence_model(name: str, *, kind: str, setting: str, packaged: str = "") -> Path:
    """The folder of a model that holds safetensors alone and needs no code of its own.

    Args:
        name: a folder, or a hub id; a hub model is fetched once, and the cached commit is
            used from then on.
        kind: what it is, in messages: "embedder", "reranker".
        setting: what named it.
        packaged: what could be used without a hub, if there is such a thing.

    Raises:
        ModelError: no such model, hub not reachable, pickled weights, code in the model.
    """
    folder = expanded(name)
    if not folder.is_dir():
        if not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name) or name.startswith("."):
            first = "minilm, a folder," if packaged else "a folder"
            raise ModelError(f"no folder '{name}'", where=setting,
                             mend=f"Give {first} or a hub id (owner/name)")
        ways_out = ("Use a cached model, a local folder, or " + packaged if packaged else
                    "Use a cached model or a local folder")
        folder = _from_hub(name, kind, ways_out)
    _refuse_unsafe(name, folder, kind)
    return folder


def _from_hub(name: str, kind: str, ways_out: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    from phi3kit.progress import note

    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
        if (folder / "config.json").is_file() and any(folder.rglob("*.safetensors")):
            return folder
    except (OSError, ValueError):
        pass  # not cached, or not whole: fetched below
    try:
        note(f"fetching the {kind} {repository} …")
        return Path(snapshot_download(repository, allow_patterns=list(_PATTERNS)))
    except GatedRepoError as error:
        raise ModelError("the hub gives this model only to users who accepted its terms",
                         where=name, mend="Accept them on its page and run: hf auth "
                                          "login") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"the hub has no such {kind}, or not for you", where=name,
                         mend=ways_out) from error
    except LocalEntryNotFoundError as error:
        raise ModelError(f"the model hub cannot be reached and the {kind} is not cached",
                         where=name, mend=ways_out) from error
    except (OSError, ValueError) as error:  # includes the HTTP client's errors
        raise ModelError(f"the model hub cannot be reached ({first_line(error)})", where=name,
                         mend=ways_out) from error


def _refuse_unsafe(name: str, folder: Path, kind: str) -> None:
    """Only safetensors, and only classes of sentence-transformers itself."""
    if not (folder / "config.json").is_file():
        raise ModelError(f"no config.json in the {kind}'s folder", where=name,
                         mend="Give a folder that sentence-transformers wrote")
    modules = read_json(folder / "modules.json", [])
    if not isinstance(modules, list) or not all(isinstance(m, dict) for m in modules):
        raise ModelError("modules.json is no list of modules", where=name,
                         mend="Copy the model again")
    inner = str(modules[0].get("path", "")) if modules else ""
    # transformers may know an architecture of that name, and would load what fits of it.
    config = read_json(folder / inner / "config.json", {})
    if not isinstance(config, dict):
        raise ModelError("config.json is no object", where=name, mend="Copy the model again")
    if _CLASSES[kind] in (config.get("auto_map") or {}):
        raise ModelError(f"the {kind} needs code from the hub, which phi3kit does not run",
                         where=name, mend=f"Use another {kind}")
    for module in modules:
        wanted = str(module.get("type", ""))
        if not wanted.startswith("sentence_transformers."):
            raise ModelError(f"the {kind} needs code of its own ({wanted}), which phi3kit does "
                             "not run", where=name, mend=f"Use another {kind}")
    for weights in folder.rglob("pytorch_model*.bin"):
        if not any(weights.parent.glob("*.safetensors")):
            raise ModelError(f"pickled weights ({weights.name}) can run code and are refused",
                             where=name, mend="Save the model again with safetensors")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"no *.safetensors in the {kind}'s folder", where=name,
                         mend="Save the model again with safetensors")


def fingerprint(folder: Path) -> str:
    """Hash over weights, tokenizer and the settings of the modules: all that changes results."""
    names = [path for pattern in ("*.safetensors", "tokenizer.json", "modules.json",
                                  "config.json", "sentence_bert_config.json")
             for path in folder.rglob(pattern)]
    parts = [f"{path.relative_to(folder).as_posix()}:{remembered_sha256(path)}"
             for path in sorted(names)]
    return f"sha256:{sha256_bytes(chr(10).join(parts).encode())}"


@dataclass(frozen=True, slots=True)
class Prompts:
    """What a model was trained to read before each text: "query: " and "passage: ", say."""

    question: str = ""
    document: str = ""


# The names that sentence-transformers looks for, the first that is there.
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


def prompts_of(folder: Path) -> Prompts:
    """The prompts that a model's folder declares; most declare none.

    Raises:
        ModelError: they are not names with text.
    """
    path = folder / "config_sentence_transformers.json"
    told = read_json(path, {}).get("prompts") or {}
    try:
        named = {str(name): str(text or "") for name, text in told.items()}
    except AttributeError as error:
        raise ModelError("'prompts' is no object of names and texts", where=str(path),
                         mend="Copy the model again") from error
    return Prompts(named.get("query", ""), next(
        (named[name] for name in _DOCUMENT_PROMPTS if name in named), ""))


def read_json(path: Path, otherwise: Any) -> Any:
    """The file's value; `otherwise` when there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return otherwise
    except (OSError, ValueError) as error:
        raise ModelError("not JSON", where=str(path), mend="Copy the model again") from error
