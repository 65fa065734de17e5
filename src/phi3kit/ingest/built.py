"""How long a collection took to build from nothing, kept beside it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from phi3kit.files import write_json
from phi3kit.ingest.site import Site, local_folder
from phi3kit.records import IngestReport


class Built(msgspec.Struct, frozen=True):
    """The last time that one run embedded everything the collection held afterwards.

    Attributes:
        chunks: that it embedded.
        seconds: wall time, with reading, cutting, loading the embedder and checking the index.
    """

    chunks: int
    seconds: float


def keep_built(site: Site, report: IngestReport) -> None:
    """Keep what a run took, if it built the collection from nothing."""
    whole = report.chunks_embedded == report.chunks and not report.embedded_again
    if report.chunks and whole:
        # The collection is whole without this figure: a full disk is no reason to fail now.
        with contextlib.suppress(OSError):
            write_json(_path(site, report.collection),
                       {"chunks": report.chunks, "seconds": report.seconds})


def read_built(site: Site, collection: str) -> Built | None:
    """What building took; None where no run on this machine did it at once."""
    try:
        return msgspec.json.decode(_path(site, collection).read_bytes(), type=Built)
    except (OSError, msgspec.DecodeError):
        return None


def _path(site: Site, collection: str) -> Path:
    return local_folder(site) / f"{collection}.built.json"
