"""What a collection was built with, and what was in it when the last ingest ended."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phi3kit.errors import StoreError
from phi3kit.files import write_json

# Raise it when the meaning of either record, or of the rows' metadata, changes.
_FORMAT = 2

# `FileState.sha256` of a document that is in the collection in part: equal to no file's hash.
NOT_WHOLE = ""

DISTANCE = "cosine"

REBUILD = ("Run phi3kit ingest --rebuild to build it anew beside the old one, or give another "
           "--collection")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What every chunk of a collection has in common. Kept with the collection in Chroma.

    Attributes:
        embedder: the embedder's name, as it was given.
        fingerprint: identity of the embedder's weights, tokenizer and pooling.
        dimension: length of a vector.
        chunk_tokens: longest chunk in the embedder's tokens.
        chunker: version of the rules that cut and of what is embedded.
        distance: Chroma's name of the distance that the index orders by.
        normalized: whether every vector has length 1.
        precision: of the embedder: "auto" (as good as float32) or "int8".
        versions: installed versions at the first ingest, for the record.
        project: the folder that relative names of documents belong to (see `project`).
    """

    embedder: str
    fingerprint: str
    dimension: int
    chunk_tokens: int
    chunker: int
    distance: str = DISTANCE
    normalized: bool = True
    precision: str = "auto"
    versions: Mapping[str, str] = field(default_factory=dict)
    project: str = ""

    def as_text(self) -> str:
        """As JSON text; `manifest_from` is the inverse."""
        return json.dumps({"format": _FORMAT, **dataclasses.asdict(self)}, sort_keys=True)

    def refuse_other(self, *, embedder: str, fingerprint: str, chunk_tokens: int,
                     chunker: int, where: str, precision: str = "auto") -> None:
        """Compare with what the settings ask for.

        The dimension follows from the fingerprint, and to ask for it would load the model.

        Raises:
            StoreError: something differs; chunks of two kinds in one collection would be
                compared with each other as if they were alike.
        """
        what = None
        if precision != self.precision:
            what = f"built with ingest.precision {self.precision}, not {precision}"
        elif fingerprint != self.fingerprint:
            what = (f"built with embedder '{self.embedder}', not '{embedder}'"
                    if embedder != self.embedder else
                    f"built with other weights of the embedder '{embedder}'")
        elif chunk_tokens != self.chunk_tokens:
            what = f"built with ingest.chunk_tokens {self.chunk_tokens}, not {chunk_tokens}"
        elif chunker != self.chunker:
            what = (f"cut by version {self.chunker} of the chunking rules; this is version "
                    f"{chunker}")
        elif (self.distance, self.normalized) != (DISTANCE, True):
            what = (f"built for the distance '{self.distance}' on vectors that are "
                    f"{'' if self.normalized else 'not '}normalized; this needs '{DISTANCE}' "
                    "on normalized ones")
        if what is not None:
            raise StoreError(what, where=where, mend=REBUILD)


def manifest_from(text: str, where: str) -> Manifest:
    """The inverse of `Manifest.as_text`.

    Raises:
        StoreError: not ours, or of another format.
    """
    if not text:
        raise StoreError("the collection was not built by phi3kit", where=where,
                         mend="Give another --collection")
    try:
        values = json.loads(text)
        found = values.pop("format")
        if found != _FORMAT:
            raise ValueError(f"format {found}, not {_FORMAT}")
        return Manifest(**values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"the collection was built by another version of phi3kit ({error})",
                         where=where, mend=REBUILD) from error


@dataclass(frozen=True, slots=True)
class FileState:
    """What the collection holds of a document.

    Attributes:
        sha256: hash of the file's bytes; NOT_WHOLE when chunks are missing or of several
            versions of the file.
        chunks: number of chunks, equal ones included.
        problems: number of its parts that could not be read; it is read again each time, so
            that they are told until they are mended.
    """

    sha256: str
    chunks: int
    problems: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """A memory of what the collection holds, so that an unchanged corpus opens nothing.

    It lies in a file beside Chroma's, is removed before the first write to Chroma and
    written after the last. A run that was killed leaves none, and then Chroma itself is
    asked: a missing state costs time, and a wrong one cannot arise.

    Attributes:
        index: size in bytes and time of the last write (nanoseconds) of each file of the index,
            by its name in the store: an index that something else wrote to is looked at.
    """

    manifest: Manifest
    files: dict[str, FileState]
    chunks: int
    index: dict[str, tuple[int, int]]


def read_state(path: Path) -> State | None:
    """The state that the last complete run left; None when there is none to trust."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = {source: FileState(str(f["sha256"]), int(f["chunks"]), int(f["problems"]))
                 for source, f in values["files"].items()}
        index = {name: (int(size), int(at)) for name, (size, at) in values["index"].items()}
        return State(manifest_from(values["manifest"], str(path)), files, int(values["chunks"]),
                     index)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StoreError):
        return None


def write_state(path: Path, state: State) -> None:
    """Write the state, whole or not at all."""
    write_json(path, {
        "manifest": state.manifest.as_text(),
        "chunks": state.chunks,
        "index": state.index,
        "files": {source: dataclasses.asdict(f) for source, f in sorted(state.files.items())},
    })


def forget_state(path: Path) -> None:
    """Remove the state and make sure that it stays removed, whatever happens next."""
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError, AttributeError):  # Windows cannot open folders
        handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
