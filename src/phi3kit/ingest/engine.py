"""Who reads, cuts and embeds: this process, or a cluster.

An engine turns files into `File`s, some of them with vectors. What is stored, embedded again
or taken away is decided by `reconcile` and `writer` alone, so that the engines cannot differ
in it: a text that an engine brings without a vector is embedded by the writer.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

from phi3kit.errors import DataError
from phi3kit.ingest.batch import File
from phi3kit.ingest.chunking import Chunker
from phi3kit.ingest.embed import Embedder
from phi3kit.ingest.workers import Readers
from phi3kit.records import Failure
from phi3kit.settings import Settings

# A generator, so that who stops reading it can end what it has started.
Files: TypeAlias = Generator[File | Failure, None, None]


class Engine(Protocol):
    """Reads and cuts files, and may embed what is new in them."""

    def files(self, paths: Mapping[str, Path], held: Iterable[str]) -> Files:
        """Each file, or why it cannot be read, in the order of `paths`.

        Args:
            paths: by source.
            held: IDs of the texts that the collection has: they need no vector.

        Raises:
            SettingsError: chunks longer than the embedder's window.
        """


class Local:
    """This process: the next file is read while this one is cut. The writer embeds."""

    def __init__(self, embedder: Embedder, chunk_tokens: int) -> None:
        self._embedder = embedder
        self._chunk_tokens = chunk_tokens

    def files(self, paths: Mapping[str, Path], held: Iterable[str]) -> Files:
        """See `Engine.files`."""
        chunker = Chunker(self._embedder.tokenizer, self._embedder.window, self._chunk_tokens)
        with Readers() as readers:
            yield from cut(paths, readers, chunker)


def cut(paths: Mapping[str, Path], readers: Readers, chunker: Chunker,
        ) -> Iterator[File | Failure]:
    """Each of the files in chunks, or why it cannot be read."""
    sources = list(paths)
    for source, following in zip(sources, [*sources[1:], None], strict=True):
        path = paths[source]
        try:
            sha256, document = readers.read(path)
        except OSError as error:
            yield Failure(source, (error.strerror or str(error)).lower())
            continue
        except DataError as error:
            yield Failure(source, str(error))
            continue
        if following is not None:
            readers.begin(paths[following])
        title = " ".join(path.stem.replace("_", " ").replace("-", " ").split())
        yield File(source, sha256, chunker.chunk(document, title), document.problems)


def open_engine(settings: Settings, embedder: Embedder) -> Engine:
    """The engine of the settings.

    Raises:
        SettingsError: Ray is not installed, or the embedder is a provider's.
    """
    if settings.ingest.engine == "ray":
        from phi3kit.ingest.ray_engine import RayEngine

        return RayEngine(settings, embedder)
    return Local(embedder, settings.ingest.chunk_tokens)
