"""Passages found by a process of its own, which takes all that the search held when it ends.

Chroma, the embedder and what they import stay in the memory of a process that has used them, some
0.7 GB with the packaged embedder; on a GPU the embedder has its share of the card as well. Training
comes after the last search, and wants both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import IO

import msgspec

from phi3kit.errors import Phi3kitError, StoreError
from phi3kit.ingest import pipes
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


_Reply = _Opened | _Found | pipes.Refusal


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
        self._process = pipes.start("phi3kit.rag.apart")
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
        pipes.end(self._process)

    def _ask(self, message: bytes) -> _Reply:
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None and sink is not None
        try:
            pipes.send(sink, message)
            found = pipes.take(source)
        except BrokenPipeError:
            found = None
        if found is None:
            died = pipes.death(self._process.wait())
            raise StoreError(f"the process that looks passages up {died}",
                             where=self._where, mend="Run the same again; phi3kit search shows "
                                                     "whether the collection can be searched")
        reply: _Reply = msgspec.msgpack.decode(found, type=_Reply)
        if isinstance(reply, pipes.Refusal):
            raise pipes.refused(reply)
        return reply


def _serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Settings first, then questions, until the other side is gone."""
    from phi3kit.rag.retrieve import open_retriever

    def reply(answer: _Reply) -> None:
        pipes.send(sink, msgspec.msgpack.encode(answer))

    first = pipes.take(source)
    if first is None:
        return
    try:
        retriever = open_retriever(msgspec.msgpack.decode(first, type=Settings))
        reply(_Opened(retriever.fingerprint))
        while (message := pipes.take(source)) is not None:
            asked = msgspec.msgpack.decode(message, type=_Asked)
            reply(_Found(retriever.retrieve(asked.questions, asked.k, asked.min_similarity)))
    except Phi3kitError as error:
        reply(pipes.refusal(error))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # who asked is gone
        _serve(*pipes.ours())
