"""Passages found by a process of its own, which takes all that the search held when it ends.

Chroma, the embedder and what they import stay in the memory of a process that has used them, some
0.7 GB with the packaged embedder; on a GPU the embedder has its share of the card as well. Training
comes after the last search, and wants both.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import IO

import msgspec

from phi3kit import errors
from phi3kit.errors import Phi3kitError, StoreError
from phi3kit.ingest.readers.worker import send, take
from phi3kit.ingest.workers import death
from phi3kit.records import Passage
from phi3kit.settings import Settings


class _Asked(msgspec.Struct, frozen=True):
    questions: list[str]
    k: int
    min_similarity: float


class _Opened(msgspec.Struct, tag=True, frozen=True):
    fingerprint: str


class _Found(msgspec.Struct, tag=True, frozen=True):
    passages: list[tuple[Passage, ...]]


class _Refused(msgspec.Struct, tag=True, frozen=True):
    kind: str
    what: str
    where: str | None
    mend: str | None


_Reply = _Opened | _Found | _Refused


class ApartRetriever:
    """As `Retriever`, in a process of its own; a context manager, which ends it.

    Args:
        settings: as of `open_retriever`.

    Raises:
        SettingsError, StoreError, ModelError: as `open_retriever`; or the process ended before it
            answered (StoreError).
    """

    def __init__(self, settings: Settings) -> None:
        self._where = settings.ingest.store
        # -P: a random.py of the working folder is not Python's. A session of its own: Ctrl-C is
        # for us, and we end it. What it writes to stderr is the user's to see.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "phi3kit.rag.apart"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, start_new_session=True)
        try:
            reply = self._ask(msgspec.msgpack.encode(settings))
        except BaseException:
            self.close()
            raise
        assert isinstance(reply, _Opened)
        self.fingerprint: str = reply.fingerprint

    def __enter__(self) -> ApartRetriever:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def retrieve(self, questions: Sequence[str], k: int,
                 min_similarity: float) -> list[tuple[Passage, ...]]:
        """As `Retriever.retrieve`."""
        reply = self._ask(msgspec.msgpack.encode(_Asked(list(questions), k, min_similarity)))
        assert isinstance(reply, _Found)
        return reply.passages

    def close(self) -> None:
        """End the process, whatever it is doing; once is enough."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # what it did not take any more
                pipe.close()

    def _ask(self, message: bytes) -> _Reply:
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None and sink is not None
        try:
            send(sink, message)
            found = take(source)
        except BrokenPipeError:
            found = None
        if found is None:
            raise StoreError(f"the process that looks passages up {death(self._process.wait())}",
                             where=self._where, mend="Run the same again; phi3kit search shows "
                                                     "whether the collection can be searched")
        reply: _Reply = msgspec.msgpack.decode(found, type=_Reply)
        if isinstance(reply, _Refused):
            raise getattr(errors, reply.kind)(reply.what, where=reply.where, mend=reply.mend)
        return reply


def _refused(error: Phi3kitError) -> _Refused:
    """The error by its class in errors.py, or by the nearest one above it there."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    return _Refused(kind.__name__, error.what, error.where, error.mend)


def _serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Settings first, then questions, until the other side is gone."""
    from phi3kit.rag.retrieve import open_retriever

    def reply(answer: _Reply) -> None:
        send(sink, msgspec.msgpack.encode(answer))

    first = take(source)
    if first is None:
        return
    try:
        retriever = open_retriever(msgspec.msgpack.decode(first, type=Settings))
        reply(_Opened(retriever.fingerprint))
        while (message := take(source)) is not None:
            asked = msgspec.msgpack.decode(message, type=_Asked)
            reply(_Found(retriever.retrieve(asked.questions, asked.k, asked.min_similarity)))
    except Phi3kitError as error:
        reply(_refused(error))


if __name__ == "__main__":
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints would garble the replies
    with contextlib.suppress(BrokenPipeError):  # who asked is gone
        _serve(sys.stdin.buffer, replies)
