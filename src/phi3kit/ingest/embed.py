"""Texts to vectors, with a sentence-transformers model.

What costs seconds (importing torch, loading weights) happens at the first `encode`, so that
a run with nothing to embed never pays it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from phi3kit.errors import ModelError, SettingsError
from phi3kit.files import expanded, sha256_bytes
from phi3kit.ingest.conversion import open_encoder
from phi3kit.ingest.openvino import OpenvinoEncoder, batches
from phi3kit.ingest.remote import RemoteEmbedder, provider_of, refuse_unknown
from phi3kit.models.hardware import has_gpu
from phi3kit.models.out_of_memory import out_of_memory
from phi3kit.models.sentence import (
    Prompts,
    fingerprint,
    prompts_of,
    read_json,
    sentence_model,
)
from phi3kit.models.whole import require_whole
from phi3kit.progress import Advance

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

PACKAGED = "minilm"

# Tokens of a batch, padding included. On 2 cores with bfloat16, MiniLM takes 1.2 times the
# CPU time at half of it and 1.6 to 1.9 times at a quarter: every new shape costs a set-up.
_BATCH_TOKENS = 16_384


class Embedder(Protocol):
    """Something that turns texts into vectors.

    Attributes:
        name: the name that it was asked for by.
        fingerprint: identity of weights, tokenizer and pooling: "sha256:…".
        dimension: length of a vector.
        window: longest input in tokens, special tokens included; what is beyond is cut off.
        tokenizer: its own tokenizer, without truncation and padding.
    """

    name: str
    fingerprint: str

    @property
    def dimension(self) -> int: ...  # noqa: D102
    @property
    def window(self) -> int: ...  # noqa: D102
    @property
    def tokenizer(self) -> Tokenizer: ...  # noqa: D102

    def estimate(self, tokens: int) -> str:
        """What embedding about so many tokens takes, if that needs saying; else ""."""

    def encode(self, texts: Sequence[str], *, advance: Advance | None = None) -> np.ndarray:
        """float32 array [len(texts), dimension], rows of length 1, in the order of `texts`."""

    def release(self) -> None:
        """Let go of what the weights take in memory, until the next `encode` needs it."""


class LocalEmbedder:
    """A sentence-transformers model in a folder.

    Args:
        questions: whether it embeds what is asked, not what is found; some models were trained
            with another prompt before each.
    """

    def __init__(self, name: str, folder: Path, device: str, *, questions: bool = False) -> None:
        prompts = prompts_of(folder)
        self.name = name
        self.fingerprint = fingerprint(folder)
        if prompts != Prompts():  # of both, for one is no use without the other
            self.fingerprint = "sha256:" + sha256_bytes(
                f"{self.fingerprint}\n{prompts.question}\n{prompts.document}".encode())
        self._questions = questions
        self._prompt = prompts.question if questions else prompts.document
        self._folder = folder
        self._device = device
        self._turn = threading.Lock()

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, without truncation and padding."""
        from tokenizers import Tokenizer

        path = self._folder / "tokenizer.json"
        tokenizer = (Tokenizer.from_file(str(path)) if path.is_file() else
                     Tokenizer.from_str(self._model.tokenizer.backend_tokenizer.to_str()))
        # Many models' files carry both, and counts would be cut off at their length.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @functools.cached_property
    def window(self) -> int:
        """Longest input in tokens, special tokens included, the prompt not."""
        prompt = self.tokenizer.encode(self._prompt, add_special_tokens=False)
        return self._whole_window - len(prompt.ids)

    @functools.cached_property
    def _whole_window(self) -> int:
        config = read_json(self._folder / "sentence_bert_config.json", {})
        if config.get("max_seq_length"):
            return int(config["max_seq_length"])
        return int(self._model.max_seq_length)

    @property
    def on_cpu(self) -> bool:
        """Whether it runs on the CPU; told without importing torch."""
        return self._device == "cpu" or (self._device == "auto" and not has_gpu())

    @functools.cached_property
    def dimension(self) -> int:
        """Length of a vector."""
        if self._fast is not None:
            return self._fast.dimension
        return int(self._model.get_embedding_dimension())

    def estimate(self, tokens: int) -> str:
        """Nothing leaves the machine and nothing is paid: "" whatever the number."""
        return ""

    def encode(self, texts: Sequence[str], *, advance: Advance | None = None) -> np.ndarray:
        """Vectors of `texts`: float32 [len(texts), dimension], each of length 1.

        Texts of similar length share a batch, so that little is padding. Threads may encode at
        once, when the model is loaded: asking for `dimension` sees to that.

        Args:
            advance: called with the number of texts after each batch.

        Raises:
            OutOfMemoryError: a batch does not fit.
        """
        import numpy as np

        vectors: np.ndarray = np.empty((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return vectors
        device = "cpu" if self._fast is not None else str(self._model.device.type)
        with out_of_memory(f"embedding {len(texts):,} texts", lambda: self._make_room(device),
                           device=device):
            self._fill(vectors, texts, advance)
        # In bfloat16 a vector's length is 1 to three digits only.
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
        return vectors

    def _fill(self, vectors: np.ndarray, texts: Sequence[str], advance: Advance | None) -> None:
        if self._fast is not None:
            vectors[:] = self._fast.encode([self._prompt + text for text in texts], advance)
        else:
            lengths = [min(len(e.ids), self.window)
                       for e in self.tokenizer.encode_batch(list(texts))]
            for batch in batches(lengths, _BATCH_TOKENS):
                with self._turn:  # a batch is as much as memory is meant to hold
                    vectors[batch] = self._with_torch([texts[at] for at in batch])
                if advance is not None:
                    advance(len(batch))

    def release(self) -> None:
        """Let go of the weights; the next `encode` loads them again."""
        for held in ("_fast", "_model"):
            self.__dict__.pop(held, None)

    def _with_torch(self, texts: list[str]) -> np.ndarray:
        import numpy as np

        vectors: np.ndarray = np.asarray(self._model.encode(
            texts, prompt=self._prompt, batch_size=len(texts), show_progress_bar=False,
            convert_to_numpy=True, normalize_embeddings=True), dtype=np.float32)
        return vectors

    def _make_room(self, device: str) -> str:
        ways = ("Make room on the card, or set model.device to cpu" if device == "cuda" else
                "Make room, or take a smaller ingest.embedder or ingest.chunk_tokens, which "
                "need a new collection")
        return ways if self._questions else (
            f"{ways}; what is stored stays, and the same command goes on from there")

    @functools.cached_property
    def _fast(self) -> OpenvinoEncoder | None:
        """The model through OpenVINO, where it runs on a CPU."""
        if not self.on_cpu:
            return None
        return open_encoder(self._folder, self.fingerprint, self.tokenizer, self._whole_window)

    @functools.cached_property
    def _model(self) -> Any:
        from phi3kit.models.hardware import pick_device, pick_dtype
        from phi3kit.models.quiet import hush

        hush()  # before the import, which warns too
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer

        device = pick_device(self._device)
        # bfloat16 where the CPU multiplies it. On 300 chunks of 154 tokens in the mean, the
        # lowest cosine to float32 is 0.99991, and 99.2 % of the ten nearest are the same.
        dtype = getattr(torch, pick_dtype("auto", device))
        try:
            with out_of_memory(f"loading the embedder {self.name}",
                               lambda: self._make_room(device), device=device):
                model = SentenceTransformer(
                    str(self._folder), device=device, trust_remote_code=False,
                    local_files_only=True,
                    model_kwargs={"use_safetensors": True, "dtype": dtype})
                require_whole(model, self._folder, where=self.name, kind="embedder")
            return model
        except (OSError, ValueError, RuntimeError, KeyError, ImportError, AttributeError,
                SafetensorError) as error:
            first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            raise ModelError(f"the embedder cannot be loaded ({first[:200]})", where=self.name,
                             mend="Give a complete sentence-transformers model") from error


def open_embedder(name: str, *, device: str = "auto", precision: str = "auto",
                  questions: bool = False, requests_per_minute: int | None = None) -> Embedder:
    """The embedder called `name`; its weights are loaded when they are first needed.

    Args:
        name: "minilm" (packaged), a folder, or a hub id; or a provider's model, as
            `remote.RemoteEmbedder` takes it. A hub model is fetched once; the cached commit
            is used from then on.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto", which is as good as float32, or "int8" (see `int8.Int8Embedder`).
        questions: whether it embeds what is asked, not what is found.
        requests_per_minute: at most so many to a provider; None: no limit.

    Raises:
        ModelError: no such model, hub not reachable, pickled weights, code in the model.
        SettingsError: `precision` is not to be had for it.
    """
    if name.lower() == PACKAGED:
        from phi3kit.models.packaged import minilm

        return _local(name, minilm(), device, precision, questions=questions)
    if provider_of(name) is not None:
        if precision != "auto":
            raise SettingsError(f"'{name}' embeds in its provider's own precision, not in "
                                f"{precision}", where="ingest.precision", mend="Set it to auto")
        return RemoteEmbedder(name, requests_per_minute=requests_per_minute)
    if not expanded(name).is_dir():
        refuse_unknown(name)
    folder = sentence_model(name, kind="embedder", setting="ingest.embedder",
                            packaged="the packaged minilm")
    return _local(name, folder, device, precision, questions=questions)


def _local(name: str, folder: Path, device: str, precision: str, *, questions: bool,
           ) -> LocalEmbedder:
    if precision == "auto":
        return LocalEmbedder(name, folder, device, questions=questions)
    from phi3kit.ingest.int8 import Int8Embedder

    return Int8Embedder(name, folder, device, questions=questions)
