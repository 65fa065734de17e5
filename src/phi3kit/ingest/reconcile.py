"""The collection equals the folders that it was told to mirror.

Files are recognised by the hash of their bytes, texts by the hash of what is embedded: an
unchanged file is not read, and a text that the collection has is not embedded again, in
whatever file it turns up. A file counts as whole when all of its places are of the same
bytes and none is missing, so the next run ends with the right set wherever one was killed
(see `writer` for the order of writes, `swap` for --rebuild).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from phi3kit.errors import DataError, SettingsError
from phi3kit.ingest import client, lock
from phi3kit.ingest.batch import File, groups
from phi3kit.ingest.built import keep_built
from phi3kit.ingest.chunking import Chunker
from phi3kit.ingest.difference import Difference
from phi3kit.ingest.embed import Embedder, LocalEmbedder, open_embedder
from phi3kit.ingest.embed_apart import ApartEmbedder
from phi3kit.ingest.engine import Engine, open_engine
from phi3kit.ingest.forecast import tokens_of
from phi3kit.ingest.kept import Kept
from phi3kit.ingest.manifest import NOT_WHOLE, FileState
from phi3kit.ingest.site import local_folder, site_of
from phi3kit.ingest.walk import Found, walk
from phi3kit.ingest.writer import Writer
from phi3kit.progress import bar, note
from phi3kit.records import Failure, IngestReport
from phi3kit.settings import IngestSettings, Settings

# What Chroma allows, which is also safe as the name of a file.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]+[a-zA-Z0-9]")


def ingest(settings: Settings, paths: Sequence[str] = (), *, rebuild: bool = False,
           embedder: Embedder | None = None) -> IngestReport:
    """Bring the collection up to date with `paths`.

    Args:
        settings: `ingest` and `model.device` are used.
        paths: files and folders; none: `ingest.corpus`. What the collection holds from
            elsewhere is left alone.
        rebuild: build the collection anew beside the one that is there, which stays in use
            until the new one is complete. `paths` have to cover all that it holds.
        embedder: the one of the settings, when it is open already; it stays so.

    Returns:
        What was done. Files that could not be read are in `failed`; what the collection
        held of them stays, unless it is rebuilt.

    Raises:
        DataError: there is nothing to ingest.
        SettingsError: chunks longer than the embedder's window, or a name that Chroma does
            not allow.
        StoreError: another writer, or a collection that was built with other settings.
        ModelError: the embedder cannot be found or loaded.
    """
    started = time.monotonic()
    given = _given(settings.ingest, paths)
    used = embedder or embedder_of(settings)
    site = site_of(settings.ingest.store)
    with lock.writer(site):
        work = _Reconcile(settings.ingest, used, open_engine(settings, used),
                          walk(given, local_folder(site)))
        try:
            report = work.rebuild() if rebuild else work.update()
        finally:
            work.close()
            if embedder is None:
                used.release()
        report = replace(report, seconds=time.monotonic() - started)
        keep_built(site, report)
    return report


def embedder_of(settings: Settings) -> Embedder:
    """The embedder of the settings, for documents; `release` it in the end.

    Raises:
        ModelError, SettingsError: see `embed.open_embedder`.
    """
    wanted = settings.ingest
    embedder = open_embedder(wanted.embedder, device=settings.model.device,
                             precision=wanted.precision,
                             requests_per_minute=wanted.requests_per_minute)
    if isinstance(embedder, LocalEmbedder) and embedder.on_cpu:
        return ApartEmbedder(embedder, wanted.precision)
    return embedder


def replace_documents(settings: Settings, files: Mapping[str, Path]) -> IngestReport:
    """Read other files in the place of documents: `files` by source, which stays their name.

    Raises:
        StoreError, ModelError, SettingsError: as of `ingest`.
    """
    started = time.monotonic()
    embedder = embedder_of(settings)
    with lock.writer(site_of(settings.ingest.store)):
        work = _Reconcile(settings.ingest, embedder, open_engine(settings, embedder),
                          Found(files=dict(files)), given=False)
        try:
            report = work.update()
        finally:
            work.close()
            embedder.release()
    return replace(report, seconds=time.monotonic() - started)


def preview(settings: Settings, paths: Sequence[str] = (), *, rebuild: bool = False,
            ) -> IngestReport:
    """What `ingest` would do, told from names and hashes alone. Nothing is written or embedded.

    Returns:
        Files by outcome. Those that turn out unreadable when they are read are not in
        `failed` yet, and `chunks` is what the collection holds now.

    Raises:
        DataError, SettingsError, StoreError, ModelError: as `ingest` would.
    """
    started = time.monotonic()
    given = _given(settings.ingest, paths)
    embedder = embedder_of(settings)
    work = _Reconcile(settings.ingest, embedder, open_engine(settings, embedder),
                      walk(given, local_folder(site_of(settings.ingest.store))))
    try:
        report = work.preview(rebuild=rebuild)
    finally:
        work.close()
    return replace(report, seconds=time.monotonic() - started)


def _given(wanted: IngestSettings, paths: Sequence[str]) -> tuple[str, ...]:
    given = tuple(paths) or wanted.corpus
    if not given:
        raise DataError("nothing to ingest",
                        mend="Give files or folders, or set ingest.corpus in phi3kit.yaml")
    if not _NAME.fullmatch(wanted.collection):
        raise SettingsError(f"'{wanted.collection}' cannot name a collection",
                            where="ingest.collection",
                            mend="Use at least 3 letters, digits, '.', '_' and '-', the first "
                                 "and the last a letter or digit")
    return given


class _Reconcile:
    def __init__(self, wanted: IngestSettings, embedder: Embedder, engine: Engine,
                 found: Found, *, given: bool = True) -> None:
        self._wanted = wanted
        self._embedder = embedder
        self._engine = engine
        self._found = found
        self._difference = Difference(found, wanted.prune, given, self._fail)
        self._kept = Kept(wanted, embedder)
        self._held: dict[str, FileState] = {}
        self._problems: list[tuple[str, Failure]] = []  # each with what it is of

    def update(self) -> IngestReport:
        """Write what is new, take away what is gone."""
        remembered = self._kept.recall()
        if not remembered:
            self._kept.settle()
            remembered = self._kept.recall()
            if not remembered:
                self._kept.learn(mends=True)
        self._kept.refuse_other()
        self._held = dict(self._kept.files)
        remembered = not self._claim(self._held) and remembered
        hashes = self._difference.hashes()
        to_read = self._difference.to_read(hashes, self._held)
        deleted = self._difference.gone(hashes, self._held)
        writer = Writer(self._embedder, self._kept.opened)
        if to_read or deleted:
            self._kept.forget()
            self._write(writer, to_read, deleted)
        self._verify(writer)
        if to_read or deleted or not remembered:
            self._kept.keep(self._held)
        return self._report(hashes, deleted, writer)

    def rebuild(self) -> IngestReport:
        """Write everything into a new collection, then put it in the place of the old one."""
        self._kept.put_aside()
        self._kept.settle()
        before = self._former(mends=True)
        hashes = self._difference.hashes()
        writer = Writer(self._embedder, self._kept.staged)
        self._write(writer, list(hashes), ())
        self._kept.publish()
        self._verify(writer)
        self._kept.keep(self._held)
        return self._report(hashes, sorted(before - set(self._found.files)), writer)

    def preview(self, *, rebuild: bool) -> IngestReport:
        """What the names and hashes tell."""
        before: set[str] = set()
        if rebuild:
            before = set() if self._kept.is_damaged() else self._former(mends=False)
        else:
            if not self._kept.recall():
                self._kept.learn(mends=False)
            self._kept.refuse_other()
            self._claim(self._kept.files)
        known = self._kept.files
        hashes = self._difference.hashes()
        self._held = {**known, **dict.fromkeys(hashes, FileState(NOT_WHOLE, 0))}
        writer = Writer(self._embedder, self._kept.opened)
        writer.touched |= {source for source, sha256 in hashes.items()
                           if source not in known or known[source].sha256 != sha256}
        deleted = (sorted(before - set(self._found.files)) if rebuild else
                   self._difference.gone(hashes, self._held))
        if writer.touched:
            self._chunker()  # refuses what the run would refuse
            self._say_what_it_takes([source for source in hashes if source in writer.touched])
        return self._report(hashes, deleted, writer)

    def close(self) -> None:
        """Let go of the collection."""
        self._kept.close()

    def _former(self, *, mends: bool) -> set[str]:
        """Sources of the collection that is to be replaced; none of them may be lost."""
        before = self._kept.former(mends=mends)
        self._claim(before)
        self._difference.refuse_loss(before, self._kept.where)
        return before

    def _claim(self, held: Iterable[str]) -> bool:
        """See `Kept.claim`; what is read in the place of documents has their names anyway."""
        if not self._difference.named:
            return False
        moved = self._kept.claim(held, self._found.names)
        self._found.name_from(self._kept.root)
        return moved

    def _fail(self, source: str, why: str, part: str = "") -> None:
        where = f"{source}, {part}" if part else source
        self._problems.append((source, Failure(where, why)))

    def _write(self, writer: Writer, to_read: Sequence[str], deleted: Sequence[str]) -> None:
        if to_read:
            client.begin_import()
            self._say_what_it_takes(to_read)
            paths = {source: self._found.files[source] for source in to_read}
            with (contextlib.closing(self._engine.files(paths, self._known_ids())) as files,
                  bar("embedding", len(to_read)) as advance):
                for group in groups(files):
                    self._put(writer, group)
                    advance(len(group))
        writer.clear(deleted)
        for source in deleted:
            del self._held[source]

    def _known_ids(self) -> Iterator[str]:
        """IDs of the texts that the collection has; one that held no file is not made to ask."""
        if self._held:
            yield from self._kept.opened().ids()

    def _say_what_it_takes(self, to_read: Sequence[str]) -> None:
        """Before the first call of a provider: how much it will be sent."""
        if self._embedder.estimate(0):
            chunker = self._chunker()
            held = self._kept.opened().ids() if self._kept.files else ()
            paths = {source: self._found.files[source] for source in to_read}
            note(self._embedder.estimate(tokens_of(paths, chunker, held)))

    def _chunker(self) -> Chunker:
        return Chunker(self._embedder.tokenizer, self._embedder.window,
                       self._wanted.chunk_tokens)

    def _put(self, writer: Writer, group: Sequence[File | Failure]) -> None:
        files = [file for file in group if isinstance(file, File)]
        self._problems += [(failure.where, failure) for failure in group
                           if isinstance(failure, Failure)]
        writer.put(files, [file.source for file in files if file.source in self._held])
        for file in files:
            for problem in file.problems:
                self._fail(file.source, problem.why, problem.where)
            self._held[file.source] = FileState(file.sha256, len(file.chunks),
                                                len(file.problems))

    def _verify(self, writer: Writer) -> None:
        if (writer.touched or self._kept.doubted) and (why := self._kept.verify()):
            self._fail(self._kept.where, why)

    def _report(self, hashes: Mapping[str, str], deleted: Sequence[str],
                writer: Writer) -> IngestReport:
        """The report; `_held` is what is held now."""
        if self._found.skipped:
            skipped = self._found.skipped
            kinds = ", ".join(f"{kind} ({count})" for kind, count in skipped.most_common(5))
            note(f"files skipped for want of a reader: {skipped.total()}, as {kinds}")
        known, mended = self._kept.files, self._kept.mended
        added = [source for source in hashes if source not in known and source in self._held]
        changed = [source for source in hashes if source in known and source in writer.touched]
        failed = (*self._found.failed, *(failure for _, failure in self._problems))
        of = {*self._found.kept, *(source for source, _ in self._problems)}
        outcome = {*added, *changed, *(failure.where for failure in failed)}
        return IngestReport(
            collection=self._wanted.collection, store=self._wanted.store, added=tuple(added),
            changed=tuple(changed), deleted=tuple(deleted), failed=failed,
            unchanged=tuple(source for source in hashes if source not in outcome),
            chunks=self._kept.chunks, chunks_embedded=writer.embedded + mended.texts,
            chunks_deleted=writer.deleted, tokens=writer.tokens + mended.tokens, seconds=0.0,
            verified=self._kept.looked, reindexed=self._kept.reindexed,
            embedded_again=mended.texts, files_failed=len(of))
