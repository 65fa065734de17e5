"""A converted model through OpenVINO: several times torch's speed on a CPU.

Whoever embeds with one never imports torch, which alone takes seconds.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.ingest.tokens import Tokens
from phi3kit.progress import Advance

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

# Padded tokens of a batch. With MiniLM in bfloat16 on 2 cores: 189 chunks/s at 1,024, 198 at
# 2,048 and 3,072, 187 at 4,096.
BATCH_TOKENS = 2048
# Widths are multiples of it: OpenVINO keeps what it sets up for each shape. With all widths a run
# over 1,500 texts took 510 MB and went on growing, with these 360.
_STEP = 16
# Batches begun for each that the CPU works on at once: the next one waits for the core, and not
# the core for a thread that hands it out.
_WAITING = 2
IN_FLOAT32 = "float32"  # beside a model of the cache that is slower in bfloat16 here
CHECKED = "checked.json"  # of a model of the cache that is whole: what was found out about it


class OpenvinoEncoder:
    """A converted model, ready to encode."""

    def __init__(self, compiled: Any, tokenizer: Tokenizer, pooling: str) -> None:
        self._compiled = compiled
        self._tokens = Tokens(tokenizer)
        self._pooling = pooling
        assert tokenizer.truncation is not None  # see `truncated`
        self._window = int(tokenizer.truncation["max_length"])
        _first_array()
        # One thread begins its batches after the other, or the texts that came first might be done
        # last, and whoever waits for them could not go on.
        self._turn = threading.Lock()
        # Of whatever thread. Not openvino.AsyncInferQueue: a process that had one may abort when
        # it ends.
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(_WAITING * int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))):
            self._free.put(compiled.create_infer_request())

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._compiled.output(0).get_partial_shape()[2].get_length())

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

        rows: list[list[int]] = []
        vectors: np.ndarray = np.empty((len(texts), self.dimension), dtype=np.float32)

        def keep(hidden: np.ndarray, batch: list[int]) -> None:
            for at, states in zip(batch, hidden, strict=True):
                cls = self._pooling == "cls"
                vectors[at] = states[0] if cls else states[:len(rows[at])].mean(axis=0)
            if advance is not None:
                advance(len(batch))

        at_work: deque[tuple[Any, list[int]]] = deque()
        try:
            with self._turn:
                rows += self._tokens.encode(texts)
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


def _first_array() -> None:
    """Have OpenVINO's bindings meet numpy in one thread.

    They set up what they need of it at the first array, behind a lock of C++. In two threads at
    once, the second waits there with Python's own lock, which the first needs: for ever.
    """
    import numpy as np

    assert library().Tensor(np.zeros(1, dtype=np.int64)).data.size == 1


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
    fast = not exact and not (path.parent / IN_FLOAT32).exists() and has_bfloat16()
    wanted = {"INFERENCE_PRECISION_HINT": "bf16" if fast else "f32",
              "PERFORMANCE_HINT": "THROUGHPUT"}
    # Not while it is converted, for it is known by its path; and a folder that cannot be
    # written would be an error.
    if (path.parent / CHECKED).is_file() and os.access(path.parent, os.W_OK):
        wanted |= {"CACHE_DIR": str(path.parent / "compiled"), "CACHE_MODE": "OPTIMIZE_SIZE"}
    return library().Core().compile_model(path, "CPU", wanted)
