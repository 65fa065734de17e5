"""A sentence-transformers model is converted for OpenVINO once, into the user's cache.

It is used only if its vectors are those of torch in float32.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from phi3kit.errors import ModelError
from phi3kit.files import sha256_bytes, write_json
from phi3kit.ingest.openvino import (
    CHECKED,
    IN_FLOAT32,
    OpenvinoEncoder,
    compile_model,
    has_bfloat16,
    library,
    truncated,
)
from phi3kit.models.packaged import cache_folder
from phi3kit.models.whole import refuse_missing
from phi3kit.progress import note

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Lowest cosine to torch's float32 vectors that a conversion may have.
LEAST_COSINE = 0.999
# Raise it when the same model converts to something else.
_VERSION = 3
_PIPELINE = ("Transformer", "Pooling", "Normalize")
_PROBES = (
    "ok", "The seal of the pump is checked every 14 days.",
    "Ähnliche Wörter, 1,204.50 EUR; see § 12 (b) — “quoted”.",
    " ".join(f"part {n} weighs {n * 7} grams and is stored in bay {n % 9}." for n in range(40)),
    "def answer(question: str) -> str:\n    return {'a': 1}[question]", "東京 — 北京",
)


def open_encoder(folder: Path, fingerprint: str, tokenizer: Tokenizer,
                 window: int) -> OpenvinoEncoder | None:
    """The encoder of a model; None where OpenVINO is absent or the model does not suit it.

    Args:
        folder: of a sentence-transformers model: a transformer, mean or CLS pooling, and
            normalisation, nothing else.
        fingerprint: of that model; the conversion is kept under it.
        tokenizer: the model's own, without truncation.
        window: longest input in tokens, special ones included.
    """
    pooling = pooling_of(folder)
    if pooling is None:
        return None
    try:
        library()
    except ImportError:
        return None
    cut = truncated(tokenizer, window)
    try:
        path, cosine = converted(folder, fingerprint, cut, pooling)
        if not cosine >= LEAST_COSINE:  # nor is a cosine that is no number
            note(f"embedding with torch: through OpenVINO this model is not exact enough (a "
                 f"cosine to float32 of {cosine:.4f}, not {LEAST_COSINE})")
            return None
        return OpenvinoEncoder(compile_model(path), cut, pooling)
    except ModelError:
        raise
    except Exception as error:  # whatever it is, torch embeds too, and names what is wrong
        first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        note(f"embedding with torch: OpenVINO cannot run this model ({first[:100]})")
        return None


def converted(folder: Path, fingerprint: str, tokenizer: Tokenizer,
              pooling: str) -> tuple[Path, float]:
    """The model as OpenVINO's .xml, converted if it is not yet, and its lowest cosine to torch.

    Args:
        tokenizer: with truncation; the rest as for `open_encoder`.
    """

    def convert(path: Path) -> OpenvinoEncoder:
        note("converting the embedder for this CPU, once (seconds) …")
        _save(_torch_model(folder), path)
        exact = OpenvinoEncoder(compile_model(path, exact=True), tokenizer, pooling)
        if not has_bfloat16():
            return exact
        fast = OpenvinoEncoder(compile_model(path), tokenizer, pooling)
        if _seconds(fast) <= _seconds(exact):
            return fast
        (path.parent / IN_FLOAT32).touch()
        return exact

    return checked_once(f"{_VERSION}\n{fingerprint}", folder, convert)


def checked_once(identity: str, folder: Path,
                 make: Callable[[Path], OpenvinoEncoder]) -> tuple[Path, float]:
    """A model of the cache, and its lowest cosine to torch in float32: all or nothing.

    Args:
        identity: all that decides what `make` gives, besides OpenVINO's version.
        folder: of the sentence-transformers model to compare with.
        make: writes the model to the .xml that it is given, and opens it. Called when the
            cache has no such model; processes that ask at the same time wait for one of them.
    """
    key = sha256_bytes(f"{library().__version__}\n{identity}".encode())[:32]
    kept = cache_folder() / "openvino" / key
    kept.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{kept}.lock"):
        if not (kept / CHECKED).is_file():
            staged = Path(tempfile.mkdtemp(prefix=".converting-", dir=kept.parent))
            try:
                encoder = make(staged / "model.xml")
                write_json(staged / CHECKED, {"cosine": _lowest_cosine(folder, encoder)})
                staged.chmod(0o755)  # mkdtemp's are their maker's alone; a cache may be shared
                shutil.rmtree(kept, ignore_errors=True)
                staged.rename(kept)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
        told = json.loads((kept / CHECKED).read_text(encoding="utf-8"))
    return kept / "model.xml", float(told["cosine"])


def pooling_of(folder: Path) -> str | None:
    """"mean" or "cls"; None for a model that does more than transform, pool, normalise."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        kinds = tuple(str(m["type"]).rpartition(".")[2] for m in modules)
        if kinds != _PIPELINE or modules[0].get("path"):
            return None
        config = json.loads((folder / modules[1]["path"] / "config.json").read_text("utf-8"))
        transformer = json.loads((folder / "sentence_bert_config.json").read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if transformer.get("do_lower_case"):
        return None
    if config.get("include_prompt") is False:  # the mean is of the text's tokens alone
        return None
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        return mode if mode in ("mean", "cls") else None
    modes = [name for name, on in config.items() if name.startswith("pooling_mode_") and on is True]
    return {("pooling_mode_mean_tokens",): "mean",
            ("pooling_mode_cls_token",): "cls"}.get(tuple(modes))


def _torch_model(folder: Path) -> Any:
    import torch
    from transformers import AutoModel

    from phi3kit.models.quiet import hush

    hush()
    model, told = AutoModel.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False,
        local_files_only=True, output_loading_info=True)
    refuse_missing(told["missing_keys"], where=str(folder), kind="embedder")
    return model.eval()


def _save(model: Any, path: Path) -> None:
    import warnings

    import torch

    openvino = library()

    class Hidden(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model  # a part of the module, or its weights could not be traced

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids,
                              attention_mask=attention_mask).last_hidden_state

    example = {"input_ids": torch.ones((2, 8), dtype=torch.int64),
               "attention_mask": torch.ones((2, 8), dtype=torch.int64)}
    logging.getLogger("openvino").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        converted = openvino.convert_model(Hidden(), example_input=example)
    openvino.save_model(converted, path, compress_to_fp16=False)


def _seconds(encoder: OpenvinoEncoder) -> float:
    """The shorter of two times for some long texts, once all that it needs is set up."""
    texts = [max(_PROBES, key=len)] * 16

    def spent() -> float:
        started = time.perf_counter()
        encoder.encode(texts)
        return time.perf_counter() - started

    spent()
    return min(spent(), spent())


def _lowest_cosine(folder: Path, encoder: OpenvinoEncoder) -> float:
    """Against sentence-transformers in float32, on texts of all lengths."""
    from phi3kit.models.quiet import hush

    hush()  # before the import, which warns too
    import numpy as np
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(
        str(folder), device="cpu", trust_remote_code=False, local_files_only=True,
        model_kwargs={"use_safetensors": True, "dtype": "float32"})
    wanted = reference.encode(list(_PROBES), prompt="", convert_to_numpy=True,
                              normalize_embeddings=True, show_progress_bar=False)
    found = encoder.encode(_PROBES)
    found /= np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-12)
    return float((wanted * found).sum(axis=1).min())
