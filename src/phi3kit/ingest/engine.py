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
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

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
    from concurrent.futures import Future, ThreadPoolExecutor

    import numpy as np

    # A group, the IDs of its texts that are embedded, and their vectors to come, if any.
    Begun: TypeAlias = tuple[list[File | Failure], list[str], Future[np.ndarray] | None]

Group: TypeAlias = list[File | Failure]
# From so many files on, embedding while others are read is worth asking the collection which
# texts it has.
_WORTH_IT = 32
# Groups that are embedded at once: with one, cores would wait for the last batch of each.
_ENCODERS = 2

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
        from concurrent.futures import ThreadPoolExecutor

        chunker = Chunker(self._embedder.tokenizer, self._embedder.window, self._chunk_tokens)
        known = self._known(len(paths), held)
        stop = threading.Event()
        stages: list[Ahead[Any]] = []
        encoders = ThreadPoolExecutor(_ENCODERS)
        with Readers() as readers:
            wanted = itertools.takewhile(lambda file: not stop.is_set(),
                                         cut(paths, readers, chunker))
            try:
                made = Ahead(groups(wanted), stop)
                stages.append(made)
                if known is None:
                    yield from itertools.chain.from_iterable(made)
                    return
                begun = Ahead(self._begun(made, known, encoders, stop), stop)
                stages.append(begun)
                for group, texts, encoding in begun:
                    vectors = (dict(zip(texts, encoding.result(), strict=True)) if encoding
                               else {})
                    yield from (file if isinstance(file, Failure) else _with(file, vectors)
                                for file in group)
            finally:
                stop.set()
                readers.interrupt()  # not to wait for a file that takes its time
                for stage in stages:
                    stage.join()
                encoders.shutdown(cancel_futures=True)

    def _known(self, files: int, held: Iterable[str]) -> set[str] | None:
        """IDs of texts that need no vector; None where knowing them costs more than it gains."""
        if isinstance(self._embedder, RemoteEmbedder):
            return None
        ids = iter(held)
        first = next(ids, None)
        if first is None:
            return set()
        return {first, *ids} if files >= _WORTH_IT else None

    def _begun(self, made: Iterable[Group], known: set[str], encoders: ThreadPoolExecutor,
               stop: threading.Event) -> Iterator[Begun]:
        """The groups, the embedding of what is not known yet begun."""

        def go_on(done: int) -> None:
            if stop.is_set():
                raise InterruptedError  # nobody waits for these vectors any more

        if not known:
            # Asking loads the model, while the first files are read.
            assert self._embedder.dimension > 0
        for group in made:
            texts: dict[str, str] = {}
            for file in group:
                if isinstance(file, File):
                    texts |= {id_: chunk.embedded for chunk in file.chunks
                              if (id_ := identity(chunk)) not in known}
            known |= texts.keys()
            # The model is loaded here, if it is not yet, and not by two encoders at once.
            yield group, list(texts), (
                encoders.submit(self._embedder.encode, list(texts.values()), advance=go_on)
                if texts and self._embedder.dimension else None)


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
