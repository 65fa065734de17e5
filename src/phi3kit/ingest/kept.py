"""The collection of a run: what it holds, opened only when it has to be."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from phi3kit.errors import StoreError
from phi3kit.ingest import chunking, client, damaged, lock, mend, project, store, swap, verify
from phi3kit.ingest.embed import Embedder
from phi3kit.ingest.manifest import (
    NOT_WHOLE,
    FileState,
    Manifest,
    State,
    forget_state,
    read_state,
    write_state,
)
from phi3kit.ingest.peek import index_files, is_as_written, peek
from phi3kit.ingest.site import site_of
from phi3kit.progress import note
from phi3kit.runs import versions
from phi3kit.settings import IngestSettings


class Kept:
    """The collection that the settings name, as a run finds and leaves it.

    Attributes:
        where: the collection as messages name it.
        files: what it held of each source when the run began.
        chunks: how many it holds.
        looked: chunks that were looked for by `verify`.
        reindexed: `verify` had to build the index anew.
        mended: what was embedded anew because the index could not be read.
        doubted: nothing vouches for the index, so `verify` is due.
    """

    def __init__(self, wanted: IngestSettings, embedder: Embedder) -> None:
        self._wanted = wanted
        self._embedder = embedder
        self._site = site_of(wanted.store)
        # On a server others may write to it meanwhile, so what it holds is asked each time.
        self._state_path = (self._site / f"{wanted.collection}.state.json"
                            if isinstance(self._site, Path) else None)
        self._store: store.Store | None = None
        self._manifest: Manifest | None = None
        self.where = client.where_of(self._site, wanted.collection)
        self.files: Mapping[str, FileState] = {}
        self.chunks = self.looked = 0
        self.reindexed = self.doubted = False
        self.mended = mend.Mended()
        self._project = ""

    def recall(self) -> bool:
        """Learn what it holds from our state's file; False when that cannot be trusted."""
        name = self._wanted.collection
        if not isinstance(self._site, Path) or self._state_path is None:
            return False
        state = read_state(self._state_path)
        if (state is None or not is_as_written(self._site, state.index)
                or peek(self._site, name, client.staged_name(name)) != state.chunks):
            return False
        self._manifest, self.files, self.chunks = state.manifest, state.files, state.chunks
        self._project = state.manifest.project
        return True

    def learn(self, *, mends: bool) -> None:
        """Learn it from Chroma itself, where no state tells it.

        Args:
            mends: whether an index that cannot be read is built anew.

        Raises:
            StoreError: as `refuse_other` does, or the store cannot be read.
        """
        if client.exists(self._site, self._wanted.collection):
            self._store = store.open_store(self._site, self._wanted.collection)
            self._manifest = self._store.manifest
            self._project = self._manifest.project
            self.refuse_other()
            if not self._readable(mends=mends):
                self.close()
                assert isinstance(self._site, Path)  # a server's index is always readable
                self.mended = mend.mend(self._site, self._wanted.collection, self._embedder)
            self.doubted = isinstance(self._site, Path)
            self.files, self.chunks = _held(self.opened())

    def former(self, *, mends: bool) -> set[str]:
        """Sources of the collection that is to be replaced, whatever version wrote it.

        Args:
            mends: whether an index that cannot be read may go, to read the rest.

        Raises:
            StoreError: it cannot be read, or is not ours.
        """
        name = self._wanted.collection
        if client.exists(self._site, name):
            built = swap.require_ours(self._site, name)
            self._project = built.project if built else ""
            if not self._readable(mends=mends):
                assert isinstance(self._site, Path)  # a server's index is always readable
                mend.drop_index(self._site, name)
        return swap.sources(self._site, name)

    def _readable(self, *, mends: bool) -> bool:
        if mend.readable(self._site, self._wanted.collection):
            return True
        if not mends:
            raise StoreError("the index cannot be read", where=self.where,
                             mend="Run phi3kit ingest, which builds it anew from the texts")
        return False

    def is_damaged(self) -> bool:
        """Whether the database that the collection lies in cannot be read any more."""
        return damaged.is_damaged(self._site)

    def put_aside(self) -> None:
        """Make room for a new database, if the one that is there cannot be read."""
        if self.is_damaged():
            assert isinstance(self._site, Path)
            note("the store's database cannot be read; it was put aside, with all collections "
                 f"in it, in {damaged.put_aside(self._site)}")

    def settle(self) -> None:
        """Finish or take back what a killed run left of a swap."""
        swap.settle(self._site, self._wanted.collection)

    def refuse_other(self) -> None:
        """Refuse a collection that was built with something else.

        Raises:
            StoreError: see `Manifest.refuse_other`.
        """
        if self._manifest is not None:
            self._manifest.refuse_other(
                embedder=self._wanted.embedder, fingerprint=self._embedder.fingerprint,
                chunk_tokens=self._wanted.chunk_tokens, chunker=chunking.VERSION,
                where=self.where, precision=self._wanted.precision)

    def claim(self, held: Iterable[str], ours: Iterable[str]) -> bool:
        """Take the collection for this working folder's, if names of documents depend on it.

        Args:
            held: names of the documents that it holds.
            ours: names that this run looks at.

        Returns:
            Whether it was another folder's, which is to be kept.

        Raises:
            StoreError: see `project.claimed`.
        """
        before, self._project = self._project, project.claimed(
            self._project, self._site, held=held, ours=ours, where=self.where)
        if self._manifest is not None:
            self._manifest = replace(self._manifest, project=self._project)
        return before not in ("", self._project)

    @property
    def root(self) -> Path:
        """The folder that relative names of its documents belong to, once it is claimed."""
        return project.root_of(self._project, self._site)

    def opened(self) -> store.Store:
        """The collection, opened or made when it is first needed."""
        if self._store is None and self._manifest is not None:
            self._store = store.open_store(self._site, self._wanted.collection)
        elif self._store is None:
            self._store = store.create_store(self._site, self._wanted.collection,
                                             self._new_manifest())
        return self._store

    def staged(self) -> store.Store:
        """The collection that will take the place of the old one."""
        if self._store is None:
            self._store = swap.stage(self._site, self._wanted.collection,
                                     self._new_manifest())
        return self._store

    def publish(self) -> None:
        """Put the staged collection in the place of the old one, even when it is empty."""
        self.staged()
        self.close()
        self._forget_state()
        swap.publish(self._site, self._wanted.collection)

    def verify(self) -> str:
        """See that every chunk is found, by building the index anew if need be.

        Returns:
            What is wrong even then; "" when all are found.
        """
        # Opened anew, as readers will: what is in memory now is not what they get to see.
        self.close()
        checked = verify.verify(self.opened())
        if checked.mendable:
            self.close()
            # Both would be in memory at once, and nothing is embedded any more.
            self._embedder.release()
            checked, self.reindexed = verify.reindex(self._site, self._wanted.collection), True
        self.looked = checked.looked
        if checked.looked < checked.chunks:
            note(f"index checked: {checked.looked:,} of {checked.chunks:,} chunks, at random")
        return checked.complaint

    def forget(self) -> None:
        """Before the first write: what is known of the content will no longer be so."""
        self._forget_state()
        if self._manifest is not None:
            self.opened().forget_fingerprint()

    def _forget_state(self) -> None:
        if self._state_path is not None:
            with self._written():
                forget_state(self._state_path)

    def keep(self, files: Mapping[str, FileState]) -> None:
        """After the last write: tell the next run what the collection holds."""
        if self._manifest is None:
            return
        self.chunks = self.opened().count()
        self.opened().keep(self._manifest)
        if self._state_path is not None and isinstance(self._site, Path):
            self.close()  # whatever Chroma has to write is written
            index = index_files(self._site, self._wanted.collection)
            with self._written():
                lock.sweep(self._state_path)
                write_state(self._state_path,
                            State(self._manifest, dict(files), self.chunks, index))

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"the store's folder cannot be written ({error.strerror or error})",
                             where=str(self._site)) from error

    def close(self) -> None:
        """Let go of the collection."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _new_manifest(self) -> Manifest:
        self._manifest = Manifest(
            embedder=self._wanted.embedder, fingerprint=self._embedder.fingerprint,
            dimension=self._embedder.dimension, chunk_tokens=self._wanted.chunk_tokens,
            chunker=chunking.VERSION, precision=self._wanted.precision, versions=versions(),
            project=self._project or project.name_of(self._site))
        return self._manifest


def _held(opened: store.Store) -> tuple[dict[str, FileState], int]:
    """The state of each source, and the number of chunks."""
    versions: dict[str, set[tuple[str, int, int]]] = {}
    places: Counter[str] = Counter()
    chunks = 0
    for rows in opened.all_rows():
        chunks += len(rows)
        for place in (place for row in rows for place in row.places):
            versions.setdefault(place.source, set()).add(
                (place.file_sha256, place.of, place.problems))
            places[place.source] += 1
    found = {}
    for source, seen in versions.items():
        (sha256, of, problems), *others = seen
        whole = not others and of == places[source]
        found[source] = FileState(sha256 if whole else NOT_WHOLE, places[source], problems)
    return found, chunks
