"""Who reads, cuts and embeds: this process, or a cluster.

An engine turns files into `File`s, some of them with vectors. What is stored, embedded again
or taken away is decided by `reconcile` and `writer` alone, so that the engines cannot differ
in it: a text that an engine brings without a vector is embedded by the writer.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from phi3kit.errors import DataError
from phi3kit.ingest.ahead import Ahead
from phi3kit.ingest.batch import File, groups
from phi3kit.ingest.chunking import Chunker
from phi3kit.ingest.embed import Embedder
from phi3kit.ingest.remote import RemoteEmbedder
from phi3kit.ingest.rows import identity
from phi3kit.ingest.workers import Readers
from phi3kit.records import Failure
from phi3kit.settings import Settings

if TYPE_CHECKING:
    import numpy as np

Group: TypeAlias = list[File | Failure]
# From so many files on, embedding while others are read is worth asking the collection which
# texts it has.
_WORTH_IT = 32

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
    """This process, its stages side by side: reading and cutting, and embedding.

    A provider's embedder is left to the writer, which tells what was stored before it failed.
    """

    def __init__(self, embedder: Embedder, chunk_tokens: int) -> None:
        self._embedder = embedder
        self._chunk_tokens = chunk_tokens

    def files(self, paths: Mapping[str, Path], held: Iterable[str]) -> Files:
        """See `Engine.files`."""
        chunker = Chunker(self._embedder.tokenizer, self._embedder.window, self._chunk_tokens)
        known = self._known(len(paths), held)
        stop = threading.Event()
        stages: list[Ahead[Group]] = []
        with Readers() as readers:
            wanted = itertools.takewhile(lambda file: not stop.is_set(),
                                         cut(paths, readers, chunker))
            try:
                stages.append(Ahead(groups(wanted), stop))
                if known is not None:
                    stages.append(Ahead(self._embedded(stages[0], known), stop))
                for group in stages[-1]:
                    yield from group
            finally:
                stop.set()
                readers.interrupt()  # not to wait for a file that takes its time
                for stage in stages:
                    stage.join()

    def _known(self, files: int, held: Iterable[str]) -> set[str] | None:
        """IDs of texts that need no vector; None where knowing them costs more than it gains."""
        if isinstance(self._embedder, RemoteEmbedder):
            return None
        ids = iter(held)
        first = next(ids, None)
        if first is None:
            return set()
        return {first, *ids} if files >= _WORTH_IT else None

    def _embedded(self, made: Iterable[Group], known: set[str]) -> Iterator[Group]:
        """The groups with the vectors of what is not known yet."""
        if not known:
            # Asking loads the model, while the first files are read.
            assert self._embedder.dimension > 0
        for group in made:
            texts: dict[str, str] = {}
            for file in group:
                if isinstance(file, File):
                    texts |= {id_: chunk.embedded for chunk in file.chunks
                              if (id_ := identity(chunk)) not in known}
            vectors = (dict(zip(texts, self._embedder.encode(list(texts.values())), strict=True))
                       if texts else {})
            known |= texts.keys()
            yield [file if isinstance(file, Failure) else _with(file, vectors) for file in group]


def _with(file: File, vectors: dict[str, np.ndarray]) -> File:
    """The file with those vectors of its texts that no file before it took."""
    ids = {identity(chunk) for chunk in file.chunks} & vectors.keys()
    return replace(file, vectors={id_: vectors.pop(id_) for id_ in ids}) if ids else file


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
