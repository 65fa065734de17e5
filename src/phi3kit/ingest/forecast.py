"""How much a run will send to a provider, told before the first call that is paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from phi3kit.ingest.batch import File
from phi3kit.ingest.chunking import Chunker
from phi3kit.ingest.engine import cut
from phi3kit.ingest.rows import identity
from phi3kit.ingest.workers import Readers
from phi3kit.progress import bar


def tokens_of(paths: Mapping[str, Path], chunker: Chunker, held: Iterable[str]) -> int:
    """Tokens of the texts of files that are to be embedded, each text once.

    The files are read and cut for it, and once more when they are embedded: bytes of a PDF or
    of markup tell nothing, and reading takes little beside the calls.

    Args:
        paths: by source; what cannot be read counts nothing.
        held: IDs of the texts that the collection has.
    """
    seen = set(held)
    tokens = 0
    with Readers() as readers, bar("counting tokens", len(paths)) as advance:
        for file in cut(paths, readers, chunker):
            advance(1)
            for chunk in file.chunks if isinstance(file, File) else ():
                if (id_ := identity(chunk)) not in seen:
                    seen.add(id_)
                    tokens += chunk.tokens
    return tokens
