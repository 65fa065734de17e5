"""A sentence-transformers model through OpenVINO: several times torch's speed on a CPU.

A model is converted once, into the user's cache, and used only if its vectors are those of
torch in float32. Whoever embeds with a converted model never imports torch, which alone
takes seconds.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from phi3kit.errors import ModelError
from phi3kit.files import sha256_bytes, write_json
from phi3kit.models.packaged import cache_folder
from phi3kit.models.whole import refuse_missing
from phi3kit.progress import Advance, note

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

# Padded tokens of a batch. With MiniLM in bfloat16 on 2 cores: 189 chunks/s at 1,024, 198 at
# 2,048 and 3,072, 187 at 4,096.
BATCH_TOKENS = 2048
# Widths are multiples of it: OpenVINO keeps what it sets up for each shape. With all widths a run
# over 1,500 texts took 510 MB and went on growing, with these 360.
_STEP = 16
# Lowest cosine to torch's float32 vectors that a conversion may have.
LEAST_COSINE = 0.999
# Raise it when the same model converts to something else.
_VERSION = 3
_IN_FLOAT32 = "float32"  # beside a model of the cache that is slower in bfloat16 here
_CHECKED = "checked.json"  # of a model of the cache that is whole: what was found out about it
_PIPELINE = ("Transformer", "Pooling", "Normalize")
_PROBES = (
    "ok", "The seal of the pump is checked every 14 days.",
    "Ähnliche Wörter, 1,204.50 EUR; see § 12 (b) — “quoted”.",
    " ".join(f"part {n} weighs {n * 7} grams and is stored in bay {n % 9}." for n in range(40)),
    "def answer(question: str) -> str:\n    return {'a': 1}[question]", "東京 — 北京",
)


class OpenvinoEncoder:
    """A converted model, ready to encode."""

    def __init__(self, compiled: Any, tokenizer: Tokenizer, pooling: str) -> None:
        self._compiled = compiled
        self._tokenizer = tokenizer
        self._pooling = pooling
        assert tokenizer.truncation is not None  # see `truncated`
        self._window = int(tokenizer.truncation["max_length"])
        # As many batches as the CPU works on at once, of whatever thread: each holds memory.
        # Not openvino.AsyncInferQueue: a process that had one may abort when it ends.
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))):
            self._free.put(compiled.create_infer_request())

    def encode(self, texts: Sequence[str], advance: Advance | None = None) -> np.ndarray:
        """Vectors: float32 [len(texts), dimension], not yet of length 1.

        Texts of similar length share a batch, so that little is padding. Each core has a batch
        of its own: all cores on one wait for the slowest at every layer, and while a file is
        cut or stored beside it, one is slow. Threads may encode at once: the batches of the
        second fill the cores that the last ones of the first leave idle.

        Args:
            advance: called with the number of texts after each batch.
        """
        import numpy as np

        rows = [e.ids for e in self._tokenizer.encode_batch_fast(list(texts))]
        width = self._compiled.output(0).get_partial_shape()[2].get_length()
        vectors: np.ndarray = np.empty((len(rows), width), dtype=np.float32)

        def keep(hidden: np.ndarray, batch: list[int]) -> None:
            for at, states in zip(batch, hidden, strict=True):
                cls = self._pooling == "cls"
                vectors[at] = states[0] if cls else states[:len(rows[at])].mean(axis=0)
            if advance is not None:
                advance(len(batch))

        at_work: deque[tuple[Any, list[int]]] = deque()
        try:
            for batch in batches([self._width(row) for row in rows], BATCH_TOKENS):
                request = self._request(at_work, keep)
                at_work.append((request, batch))
                # The first is the longest.
                request.start_async(_padded([rows[at] for at in batch],
                                            self._width(rows[batch[0]])))
            while at_work:
                self._free.put(_finish(at_work, keep))
        finally:
            for request, _ in at_work:  # after an error
                with contextlib.suppress(RuntimeError):
                    request.wait()
                self._free.put(request)
        return vectors

    def _request(self, at_work: deque[tuple[Any, list[int]]],
                 keep: Callable[[np.ndarray, list[int]], None]) -> Any:
        """One that is free; when there is none, the first of our own, else another thread's."""
        try:
            return self._free.get(block=not at_work)
        except queue.Empty:
            return _finish(at_work, keep)

    def _width(self, row: Sequence[int]) -> int:
        """Tokens that a row has as the longest of its batch."""
        return min(-(-len(row) // _STEP) * _STEP, self._window)


def _finish(at_work: deque[tuple[Any, list[int]]],
            keep: Callable[[np.ndarray, list[int]], None]) -> Any:
    """Wait for the batch that began first; returns its request, which is free again."""
    request, batch = at_work[0]
    request.wait()
    keep(request.get_output_tensor().data, batch)
    at_work.popleft()
    return request


def _padded(rows: Sequence[Sequence[int]], width: int) -> list[np.ndarray]:
    """Token IDs and attention mask: int64 [len(rows), width]."""
    import numpy as np

    ids: np.ndarray = np.zeros((len(rows), width), dtype=np.int64)
    mask = np.zeros_like(ids)
    for at, row in enumerate(rows):
        ids[at, :len(row)] = row
        mask[at, :len(row)] = 1
    return [ids, mask]


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices of `lengths`, longest first, in batches of at most `budget` padded tokens.

    A single text longer than the budget is a batch of its own.
    """
    batch: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch


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
        (path.parent / _IN_FLOAT32).touch()
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
        if not (kept / _CHECKED).is_file():
            staged = Path(tempfile.mkdtemp(prefix=".converting-", dir=kept.parent))
            try:
                encoder = make(staged / "model.xml")
                write_json(staged / _CHECKED, {"cosine": _lowest_cosine(folder, encoder)})
                shutil.rmtree(kept, ignore_errors=True)
                staged.rename(kept)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
        told = json.loads((kept / _CHECKED).read_text(encoding="utf-8"))
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


def truncated(tokenizer: Tokenizer, window: int) -> Tokenizer:
    """A copy of the tokenizer that cuts texts off at `window` tokens, special ones included."""
    copy = type(tokenizer).from_str(tokenizer.to_str())
    copy.enable_truncation(max_length=window)
    return copy


def library() -> Any:
    """The library, without its telemetry.

    Its converter reports its use to its makers unless this package is missing. With None in
    its place that import fails, and a stub of their own takes over.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def has_bfloat16() -> bool:
    """Whether the CPU computes in bfloat16; it may be slower in it all the same."""
    return "BF16" in library().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compile_model(path: Path, *, exact: bool = False) -> Any:
    """The model ready to run, in bfloat16 where the CPU has it; in float32 if `exact`.

    Also in float32 where that was faster when the model was converted, as on some CPUs that
    have bfloat16 but no matrix units (docs/log.md).

    What OpenVINO makes of a model of the cache for this CPU is kept beside it, without the
    weights (half a megabyte): read again, it takes half of the time. OpenVINO makes one that
    is cut off, or of another CPU, anew.
    """
    fast = not exact and not (path.parent / _IN_FLOAT32).exists() and has_bfloat16()
    wanted = {"INFERENCE_PRECISION_HINT": "bf16" if fast else "f32",
              "PERFORMANCE_HINT": "THROUGHPUT"}
    # Not while it is converted, for it is known by its path; and a folder that cannot be
    # written would be an error.
    if (path.parent / _CHECKED).is_file() and os.access(path.parent, os.W_OK):
        wanted |= {"CACHE_DIR": str(path.parent / "compiled"), "CACHE_MODE": "OPTIMIZE_SIZE"}
    return library().Core().compile_model(path, "CPU", wanted)


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
