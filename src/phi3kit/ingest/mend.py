"""A collection whose index cannot be read, embedded anew from the texts that it holds.

Chroma 1.5 writes an index's files in place. Killed in the middle, or on a disk that filled up
meanwhile, it leaves files that it cannot load, and with them goes every vector. Texts and
places lie in its database, whose writes are whole or absent.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi3kit.errors import StoreError
from phi3kit.ingest.client import connect, current, where_of
from phi3kit.ingest.embed import Embedder
from phi3kit.ingest.faults import explained
from phi3kit.ingest.peek import vector_segment
from phi3kit.ingest.site import Site
from phi3kit.ingest.store import open_store
from phi3kit.ingest.swap import publish, stage
from phi3kit.progress import bar, note

# Of plain English text; formats with markup have more.
_CHARACTERS_PER_TOKEN = 4
_PAGE = 1000  # vectors per read

# Chroma's hnswlib, `saveIndex`: its version, six sizes, two numbers of 32 bits, and five of 64.
_HEADER_VERSION, _HEADER_BYTES = (1).to_bytes(4, "little"), 4 + 6 * 8 + 2 * 4 + 5 * 8
# How the process that reads an index on trial ends: Python's own failures end with 1.
_UNREADABLE, _KILLED, _WINDOWS_CRASH = 3, 9, 0xC0000000
_PROBE = f"""\
import sys
from pathlib import Path
from phi3kit.ingest.faults import UnreadableError
from phi3kit.ingest.mend import read_all
try:
    read_all(Path(sys.argv[1]), sys.argv[2])
except UnreadableError:
    sys.exit({_UNREADABLE})
"""


def readable(site: Site, collection: str) -> bool:
    """Whether every vector of the collection can be read; a server's files are its own affair.

    Tried in a process of its own: some files that were cut off end the process that reads them.

    Raises:
        StoreError: that process ended for another reason, so nothing is known of the index.
    """
    if not isinstance(site, Path):
        return True
    if _header_is_cut(site, collection):
        return False
    # With -P: a random.py of the working folder is not Python's.
    done = subprocess.run([sys.executable, "-P", "-c", _PROBE, str(site), collection],
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode == 0:
        return True
    # The kernel kills with SIGKILL when memory runs out; no file makes a process end so.
    crashed = ((done.returncode < 0 and done.returncode != -_KILLED)
               or done.returncode >= _WINDOWS_CRASH)
    if crashed or done.returncode == _UNREADABLE:
        return False
    if done.returncode == -_KILLED:
        why = "it was killed, as when memory runs out"
    else:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        why = said[-1][:200] if said else f"it ended with {done.returncode}"
    raise StoreError(f"the process that looks at the index failed ({why})",
                     where=where_of(site, collection),
                     mend="Mend that and run the same again; the index was left as it is")


def _header_is_cut(folder: Path, collection: str) -> bool:
    """Whether the index's header ends too early, which Chroma may read as if it did not.

    What it lacks is then whatever was in memory, now right and now not.
    """
    segment = vector_segment(folder, collection)
    if segment is None:
        return False
    try:
        header = (folder / segment / "header.bin").read_bytes()
    except OSError:  # there is none, or it cannot be read: the process that tries it tells
        return False
    return header.startswith(_HEADER_VERSION) and len(header) < _HEADER_BYTES


def read_all(folder: Path, collection: str) -> None:
    """Read every vector of a collection of any version of ours.

    Raises:
        UnreadableError: that cannot be done.
        StoreError: it cannot be done now, for a reason that lies outside of its files.
    """
    where = where_of(folder, collection)
    with contextlib.closing(connect(folder)) as client:
        found: Any = current(client, collection, where)
        with explained(where):
            for offset in range(0, found.count(), _PAGE):
                found.get(include=["embeddings"], limit=_PAGE, offset=offset)


def drop_index(folder: Path, collection: str) -> None:
    """Take an index away that cannot be loaded, so that texts and places can be read again."""
    segment = vector_segment(folder, collection)
    if segment is not None:
        shutil.rmtree(folder / segment, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Mended:
    """What was embedded anew: `texts`, and their length in the embedder's tokens."""

    texts: int = 0
    tokens: int = 0


def mend(folder: Path, collection: str, embedder: Embedder) -> Mended:
    """Embed all texts of a collection anew, beside it, and put the result in its place.

    Args:
        embedder: the one that the collection was built with.

    Raises:
        StoreError: the database cannot be read either, or the folder cannot be written.
    """
    note(f"the index of '{collection}' cannot be read; its texts are embedded anew")
    drop_index(folder, collection)
    tokens = 0
    with contextlib.closing(open_store(folder, collection)) as old:
        total = old.count()
        if embedder.estimate(0):  # something is paid, or sent
            characters = sum(len(row.embedded) for rows in old.all_rows() for row in rows)
            note(embedder.estimate(characters // _CHARACTERS_PER_TOKEN))
        staged = stage(folder, collection, old.manifest)
        with contextlib.closing(staged) as new, bar("embedding", total) as advance:
            for rows in old.all_rows():
                texts = [row.embedded for row in rows]
                tokens += sum(len(e.ids) for e in embedder.tokenizer.encode_batch(texts))
                new.add(rows, embedder.encode(texts))
                advance(len(rows))
    publish(folder, collection)
    return Mended(total, tokens)
