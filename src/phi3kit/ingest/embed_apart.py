"""An embedder on a CPU in a process of its own, beside the one that reads, cuts and stores.

In one process they would share Python's lock. Chroma's bindings hold it while they write, some
2 ms a chunk, and imports hold it for a second in all; meanwhile nobody could hand a core its next
texts. Apart they also start side by side: one process never imports OpenVINO, the other no Chroma.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

import msgspec

from phi3kit.errors import ModelError, Phi3kitError, first_line
from phi3kit.ingest import pipes
from phi3kit.ingest.embed import LocalEmbedder, open_embedder
from phi3kit.progress import Advance, note

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer


class _Wanted(msgspec.Struct, frozen=True):
    name: str
    precision: str


class _Asked(msgspec.Struct, frozen=True):
    number: int
    texts: list[str]


class _Opened(msgspec.Struct, tag=True, frozen=True):
    dimension: int


class _Done(msgspec.Struct, tag=True, frozen=True):
    number: int
    texts: int


class _Vectors(msgspec.Struct, tag=True, frozen=True):
    number: int
    float32: bytes


class _Failed(msgspec.Struct, tag=True, frozen=True):
    number: int
    refusal: pipes.Refusal


class _Said(msgspec.Struct, tag=True, frozen=True):
    line: str


_Reply = _Opened | _Done | _Vectors | _Failed | _Said | pipes.Refusal
_encode = msgspec.msgpack.Encoder().encode


class ApartEmbedder:
    """As the embedder that it is made of, whose weights it never loads in this process.

    The process starts when vectors are first asked for, or their length, and ends with `release`
    or with this one.

    Args:
        local: what is run apart; opened by the same name on the CPU.
        precision: it was opened with.
    """

    def __init__(self, local: LocalEmbedder, precision: str) -> None:
        self.name, self.fingerprint = local.name, local.fingerprint
        self._local = local
        self._precision = precision
        self._apart: _Apart | None = None
        self._turn = threading.Lock()

    @property
    def window(self) -> int:
        """Longest input in tokens, special tokens included, the prompt not."""
        return self._local.window

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, without truncation and padding."""
        return self._local.tokenizer

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._running().dimension

    def estimate(self, tokens: int) -> str:
        """Nothing leaves the machine and nothing is paid: "" whatever the number."""
        return ""

    def encode(self, texts: Sequence[str], *, advance: Advance | None = None) -> np.ndarray:
        """Vectors of `texts`: float32 [len(texts), dimension], each of length 1.

        Threads may encode at once.

        Args:
            advance: called with the number of texts after each batch.

        Raises:
            ModelError: as of `LocalEmbedder.encode`, or its process died.
        """
        import numpy as np

        apart = self._running()
        held = apart.encode(texts, advance) if texts else b""
        vectors: np.ndarray = np.frombuffer(held, dtype=np.float32).copy()
        return vectors.reshape(len(texts), apart.dimension)

    def release(self) -> None:
        """End the process; the next `encode` starts another."""
        with self._turn:
            if self._apart is not None:
                self._apart.close()
                self._apart = None

    def _running(self) -> _Apart:
        with self._turn:
            if self._apart is None:
                self._apart = _Apart(_Wanted(self.name, self._precision))
            return self._apart


class _Apart:
    """The process, and who waits for which of its answers."""

    def __init__(self, wanted: _Wanted) -> None:
        self._name = wanted.name
        self._numbers = itertools.count()
        self._waiting: dict[int, queue.SimpleQueue[_Reply | None]] = {}
        self._lock = threading.Lock()  # of what is written, and of who waits
        self._over = False
        self._process = pipes.start("phi3kit.ingest.embed_apart")
        try:
            self._send(_encode(wanted))
            self.dimension = self._opened()
        except BaseException:
            pipes.end(self._process)
            raise
        self._reader = threading.Thread(target=self._hand_out, daemon=True)
        self._reader.start()

    def encode(self, texts: Sequence[str], advance: Advance | None) -> bytes:
        """The vectors as float32, row after row."""
        number = next(self._numbers)
        mine: queue.SimpleQueue[_Reply | None] = queue.SimpleQueue()
        with self._lock:
            if self._over:
                mine.put(None)
            self._waiting[number] = mine
        try:
            self._send(_encode(_Asked(number, list(texts))))
            while True:
                match mine.get():
                    case _Done(texts=done):
                        if advance is not None:
                            advance(done)
                    case _Vectors(float32=held):
                        return held
                    case _Failed(refusal=told):
                        raise pipes.refused(told)
                    case _:
                        raise self._dead()
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """End it; whoever waits is told."""
        self._process.kill()
        self._reader.join()
        pipes.end(self._process)

    def _opened(self) -> int:
        while True:
            match self._take():
                case _Opened(dimension=dimension):
                    return dimension
                case _Said(line=line):
                    note(line)
                case pipes.Refusal() as told:
                    raise pipes.refused(told)
                case _:
                    raise self._dead()

    def _hand_out(self) -> None:
        while (reply := self._take()) is not None:
            match reply:
                case _Said(line=line):
                    note(line)
                case _Done() | _Vectors() | _Failed():
                    # Nobody waits where the run was interrupted.
                    waits = self._waiting.get(reply.number)
                    if waits is not None:
                        waits.put(reply)
        with self._lock:
            self._over = True
            for waits in self._waiting.values():
                waits.put(None)

    def _send(self, message: bytes) -> None:
        assert self._process.stdin is not None
        with self._lock:
            try:
                pipes.send(self._process.stdin, message)
            except (BrokenPipeError, ValueError):  # it died, or was ended meanwhile
                raise self._dead() from None

    def _take(self) -> _Reply | None:
        assert self._process.stdout is not None
        message = pipes.take(self._process.stdout)
        return None if message is None else msgspec.msgpack.decode(message, type=_Reply)

    def _dead(self) -> ModelError:
        return ModelError(f"the process that embeds {pipes.death(self._process.wait())}",
                          where=self._name,
                          mend="Run the same again: what is stored stays, and it goes on from "
                               "there")


class _Teller:
    """In the process: what it says goes to the other one, which may be drawing on the screen."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._line = ""

    def __call__(self, reply: _Reply) -> None:
        """Send an answer; any thread may."""
        message = _encode(reply)
        with self._lock:
            pipes.send(self._sink, message)

    def write(self, text: str) -> int:
        """As of sys.stderr: each line that is whole is said."""
        *whole, self._line = (self._line + text).split("\n")
        for line in whole:
            self(_Said(line))
        return len(text)

    def flush(self) -> None:
        """As of sys.stderr."""

    def isatty(self) -> bool:
        """As of sys.stderr."""
        return False


def _serve(source: IO[bytes], tell: _Teller) -> None:
    """What is wanted first, then texts, until the other side is gone."""
    first = pipes.take(source)
    if first is None:
        return
    wanted = msgspec.msgpack.decode(first, type=_Wanted)
    try:
        embedder = open_embedder(wanted.name, device="cpu", precision=wanted.precision)
        tell(_Opened(embedder.dimension))
    except Phi3kitError as error:
        tell(pipes.refusal(error))
        return

    def embed(asked: _Asked) -> None:
        try:
            vectors = embedder.encode(
                asked.texts, advance=lambda done: tell(_Done(asked.number, done)))
            tell(_Vectors(asked.number, vectors.tobytes()))
        except Phi3kitError as error:
            tell(_Failed(asked.number, pipes.refusal(error)))
        except Exception as error:  # whatever it is, who asked is not to wait for ever
            tell(_Failed(asked.number, pipes.Refusal(
                "ModelError", f"the embedder failed ({first_line(error)})", wanted.name, None)))

    # Two at once: the batches of the second fill the cores that the last ones of the first leave
    # idle.
    with ThreadPoolExecutor(2) as encoders:
        while (message := pipes.take(source)) is not None:
            encoders.submit(embed, msgspec.msgpack.decode(message, type=_Asked))
        encoders.shutdown(wait=False, cancel_futures=True)


def main() -> None:
    """Serve whoever started this process."""
    source, answers = pipes.ours()
    tell = _Teller(answers)
    sys.stderr = tell  # type: ignore[assignment]
    with contextlib.suppress(BrokenPipeError):  # who asked is gone
        _serve(source, tell)


if __name__ == "__main__":
    main()
