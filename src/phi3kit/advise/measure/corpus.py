"""The documents to be measured: the same files, read the same way, as `ingest` takes in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from phi3kit.errors import DataError
from phi3kit.progress import bar
from phi3kit.records import Failure

if TYPE_CHECKING:
    from phi3kit.ingest.walk import Found

# About the 256 tokens that a passage of a collection has.
PASSAGE_WORDS = 200
_BLANK = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """A document's text.

    Attributes:
        source: the name that its passages carry when ingested.
        path: the file.
        text: what its reader extracted.
    """

    source: str
    path: Path
    text: str


@dataclass(frozen=True)
class Corpus:
    """Documents in the order of their sources, and what could not be read."""

    documents: tuple[CorpusDocument, ...]
    failures: tuple[Failure, ...] = field(default=())

    @cached_property
    def passages(self) -> tuple[tuple[int, str], ...]:
        """(index into `documents`, text) of passages of at most `PASSAGE_WORDS` words.

        Paragraphs are joined until the next would not fit; a longer one is cut at words.
        """
        return tuple((index, passage) for index, document in enumerate(self.documents)
                     for passage in cut(document.text))


def read_corpus(paths: Sequence[str], *, store: str = ".phi3kit/store") -> Corpus:
    """Read the files and folders `paths`.

    Args:
        paths: as `ingest` takes them.
        store: the collection's folder, which is no part of a corpus that it lies in.

    Returns:
        The documents that could be read; `failures` names the others, and the parts of
        documents that could not be read.

    Raises:
        DataError: not one document could be read.
    """
    from phi3kit.ingest.site import local_folder, site_of
    from phi3kit.ingest.walk import walk

    found = walk(paths, local_folder(site_of(store)))
    failures = [*found.failed, *(Failure(source, "no such file or folder")
                                 for source in found.gone)]
    documents = sorted(_read(found, failures), key=lambda document: document.source)
    if not documents:
        raise _nothing(paths, failures)
    return Corpus(tuple(documents), tuple(failures))


def cut(text: str, words: int = PASSAGE_WORDS) -> Iterator[str]:
    """Passages of `text`, at most `words` words each, cut between paragraphs if possible."""
    held: list[str] = []
    size = 0
    for paragraph in _BLANK.split(text):
        tokens = paragraph.split()
        if size and size + len(tokens) > words:
            yield "\n\n".join(held)
            held, size = [], 0
        if len(tokens) > words:
            for start in range(0, len(tokens), words):
                yield " ".join(tokens[start:start + words])
        elif tokens:
            held.append(paragraph.strip())
            size += len(tokens)
    if held:
        yield "\n\n".join(held)


def _read(found: Found, failures: list[Failure]) -> Iterator[CorpusDocument]:
    from phi3kit.ingest.workers import Readers

    with Readers() as readers, bar("reading the documents", len(found.files)) as advance:
        for source, path in found.files.items():
            try:
                _, document = readers.read(path)
            except OSError as error:
                failures.append(Failure(source, (error.strerror or str(error)).lower()))
            except DataError as error:
                failures.append(Failure(source, str(error)))
            else:
                failures.extend(Failure(f"{source}, {problem.where}", problem.why)
                                for problem in document.problems)
                yield CorpusDocument(source, path, document.text)
            advance(1)


def _nothing(paths: Sequence[str], failures: Sequence[Failure]) -> DataError:
    from phi3kit.ingest.readers import extensions

    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        return DataError(f"no document can be read: {failures[0].why}{more}",
                         where=failures[0].where,
                         mend="Mend the files or give another folder as --corpus")
    return DataError("there is no document to measure", where=" ".join(paths) or "--corpus",
                     mend=f"Give files or folders with {' '.join(extensions())} files")
