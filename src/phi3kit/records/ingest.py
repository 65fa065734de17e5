"""What ingest and retrieval pass on."""

from __future__ import annotations

from dataclasses import dataclass

from phi3kit.records.common import Failure


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk of a document as it stands in the collection.

    Attributes:
        id: the chunk's ID in the collection.
        text: the chunk's text.
        source: the document's path, relative to the project folder, with forward slashes.
        start: first character of the chunk in the document's extracted text.
        end: one past the last character.
        page: 1-based page, for formats that have pages.
        heading: headings above the chunk, outermost first, joined with " > "; "" if none.
        sha256: hash of `text`.
        score: cosine similarity to the query, -1 to 1; None outside of a search.
        sources: every document that holds this text under these headings, `source` first.
    """

    id: str
    text: str
    source: str
    start: int
    end: int
    page: int | None = None
    heading: str = ""
    sha256: str = ""
    score: float | None = None
    sources: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where to look: "docs/manual.pdf, p. 3" or "docs/a.md, Pumps > Seals, chars 10–95"."""
        parts = [self.source]
        if self.page is not None:
            parts.append(f"p. {self.page}")
        if self.heading:
            parts.append(self.heading)
        parts.append(f"chars {self.start}–{self.end}")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How near int8 vectors are to float32's, on a sample of a collection's chunks.

    Attributes:
        texts: size of the sample.
        cosine_mean, cosine_least: of each text's two vectors.
        nearest: how many neighbours of each text were compared: 10, fewer in a small sample.
        overlap: mean share of a text's `nearest` by float32 that int8 also has, 0 to 1.
    """

    texts: int
    cosine_mean: float
    cosine_least: float
    nearest: int
    overlap: float


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What a reconcile did: files by outcome, chunks in and out.

    Attributes:
        added, changed, unchanged, deleted: paths, as stored in `Passage.source`.
        failed: files, or parts of them, that could not be read; what the collection held of
            such files stays.
        chunks: chunks in the collection afterwards; equal ones count once.
        chunks_embedded: chunks embedded by this run.
        verified: chunks that were looked for by their own vectors after the writing; 0 when
            nothing was written.
        reindexed: some were not found, so the index was built anew from the vectors.
        embedded_again: of `chunks_embedded`, those whose index could not be read any more.
        files_failed: how many files `failed` is about; one may have several such parts.
        fidelity: what int8 changed; None for other precisions, or when nothing was embedded.
    """

    collection: str
    store: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    deleted: tuple[str, ...]
    failed: tuple[Failure, ...]
    chunks: int
    chunks_embedded: int
    chunks_deleted: int
    tokens: int
    seconds: float
    verified: int = 0
    reindexed: bool = False
    embedded_again: int = 0
    files_failed: int = 0
    fidelity: Fidelity | None = None
