"""A sentence-transformers model in int8 on a CPU, for those who ask for it.

Weights and activations of the matrix products are quantised after training, by NNCF. That
moves every vector a little, so the result is another embedder with a fingerprint of its own.
The ranges of the activations are taken from the sample documents that phi3kit ships, not from
the corpus: the same model gives the same vectors whatever is ingested first.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.errors import ModelError, SettingsError, first_line
from phi3kit.files import sha256_bytes
from phi3kit.ingest import conversion, openvino
from phi3kit.ingest.embed import LocalEmbedder
from phi3kit.progress import note
from phi3kit.shipped import shipped

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Lowest cosine to torch's float32 vectors that a quantised model may have. MiniLM's is 0.98;
# below this the quantisation went wrong, and did not merely round.
LEAST_COSINE = 0.9
# Raise it when the same model is quantised to something else.
_VERSION = 1
_TEXTS = 128  # to calibrate with; their lengths in words are spread over 1 to _LONGEST
_LONGEST = 160
_WHERE = "ingest.precision"
_OTHER = "Set ingest.precision to auto"


class Int8Embedder(LocalEmbedder):
    """The int8 model of a sentence-transformers model.

    Raises:
        ModelError: the extra is not installed.
        SettingsError: the model does more than transform, pool and normalise, or the device
            is not a CPU.
    """

    def __init__(self, name: str, folder: Path, device: str, *, questions: bool = False) -> None:
        super().__init__(name, folder, "cpu", questions=questions)
        if device not in ("auto", "cpu"):
            raise SettingsError(f"int8 runs on the CPU, and model.device is {device}",
                                where=_WHERE, mend=_OTHER)
        if conversion.pooling_of(folder) is None:
            raise SettingsError(f"int8 is for models of a transformer, mean or CLS pooling and "
                                f"normalisation alone, and '{name}' is not one", where=_WHERE,
                                mend=_OTHER)
        self._plain = self.fingerprint
        self.fingerprint = _fingerprint(self._plain)

    def in_float32(self) -> LocalEmbedder:
        """The same model as it was before it was quantised, to measure what that changed."""
        return _Float32(self.name, self._folder, "cpu")

    @functools.cached_property
    def _fast(self) -> openvino.OpenvinoEncoder:
        """The quantised model; it is made when the cache does not have it."""
        pooling = conversion.pooling_of(self._folder) or ""
        tokenizer = openvino.truncated(self.tokenizer, self._whole_window)

        def quantise(path: Path) -> openvino.OpenvinoEncoder:
            plain, _ = conversion.converted(self._folder, self._plain, tokenizer, pooling)
            note("quantising the embedder to int8, once (some 20 seconds) …")
            _quantise(plain, path, tokenizer)
            return openvino.OpenvinoEncoder(openvino.compile_model(path), tokenizer, pooling)

        try:
            path, cosine = conversion.checked_once(self.fingerprint, self._folder, quantise)
            encoder = openvino.OpenvinoEncoder(openvino.compile_model(path), tokenizer, pooling)
        except ModelError:
            raise
        except Exception as error:  # of NNCF, OpenVINO, torch or the disk
            raise ModelError(f"the embedder cannot be run in int8 ({first_line(error)})",
                             where=self.name, mend=_OTHER) from error
        if cosine < LEAST_COSINE:
            raise ModelError(f"int8 changes this embedder too much (a cosine to float32 of "
                             f"{cosine:.2f})", where=self.name, mend=_OTHER)
        return encoder


class _Float32(LocalEmbedder):
    """The converted model in float32, whatever the CPU is fast at."""

    @functools.cached_property
    def _fast(self) -> openvino.OpenvinoEncoder:
        pooling = conversion.pooling_of(self._folder) or ""
        tokenizer = openvino.truncated(self.tokenizer, self._whole_window)
        path, _ = conversion.converted(self._folder, self.fingerprint, tokenizer, pooling)
        return openvino.OpenvinoEncoder(openvino.compile_model(path, exact=True), tokenizer,
                                        pooling)


def _fingerprint(plain: str) -> str:
    """Of the model, the texts that calibrate it, and what quantises it."""
    try:
        openvino.library()
        quantiser = importlib.metadata.version("nncf")
    except ImportError as error:
        raise ModelError("int8 needs the extra int8, which is not installed", where=_WHERE,
                         mend="Run: pip install 'phi3kit[int8]'") from error
    texts = sha256_bytes("\0".join(_texts()).encode())
    return "sha256:" + sha256_bytes(f"int8 {_VERSION}\n{quantiser}\n{texts}\n{plain}".encode())


def _texts() -> list[str]:
    """Stretches of the shipped documents, _TEXTS of them, of all lengths."""
    documents = sorted((shipped("data") / "documents").rglob("*.md"))
    words = " ".join(path.read_text(encoding="utf-8") for path in documents).split()
    step = len(words) // _TEXTS
    # 37 and _LONGEST have no factor in common, so that lengths do not follow the documents.
    return [" ".join(words[at * step:at * step + 1 + at * 37 % _LONGEST])
            for at in range(_TEXTS)]


def _quantise(plain: Path, path: Path, tokenizer: Tokenizer) -> None:
    """Write the int8 model of the .xml `plain` to `path`."""
    library = openvino.library()  # before NNCF, which would report home too
    import nncf

    nncf.set_log_level(logging.ERROR)
    model = library.Core().read_model(plain)
    inputs = [_input(encoding.ids) for encoding in tokenizer.encode_batch(_texts())]
    # Symmetric activations (PERFORMANCE) were a tenth faster on AMX than NNCF's default for
    # transformers, at the same cosine (0.993 in the mean). Without smooth quantisation, which
    # is part of the transformer scheme, it was 0.95.
    with contextlib.redirect_stdout(io.StringIO()):  # for its bars
        quantised = nncf.quantize(model, nncf.Dataset(inputs), subset_size=len(inputs),
                                  preset=nncf.QuantizationPreset.PERFORMANCE,
                                  model_type=nncf.ModelType.TRANSFORMER)
    library.save_model(quantised, path, compress_to_fp16=False)


def _input(ids: list[int]) -> list[Any]:
    import numpy as np

    row = np.asarray([ids], dtype=np.int64)
    return [row, np.ones_like(row)]
