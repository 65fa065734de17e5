"""One writer at a time.

In a folder by an operating system's lock, which a killed process cannot leave behind; on a
server by a lease.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from phi3kit.errors import StoreError
from phi3kit.files import json_text
from phi3kit.ingest import lease
from phi3kit.ingest.client import connect
from phi3kit.ingest.site import Server, Site


@contextlib.contextmanager
def writer(site: Site) -> Iterator[None]:
    """Hold the right to write to the store at `site`; a folder is made if it is missing.

    Raises:
        StoreError: another process holds it (named by its process ID), or the folder cannot
            be written, or the server not be reached.
    """
    if isinstance(site, Server):
        with contextlib.closing(connect(site)) as client, lease.held(client, str(site)):
            yield
    else:
        with _locked(site):
            yield


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / "writer.lock")
    holder = folder / "writer.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(f"another process is writing to the store{_named(holder)}",
                         where=str(folder), mend="Wait until it is done") from error
    except OSError as error:
        raise StoreError(f"the store's folder cannot be written ({error.strerror or error})",
                         where=str(folder)) from error
    try:
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            # Not flushed to the disk: it says nothing to whoever comes after this process.
            holder.write_text(json_text({"pid": os.getpid()}), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def sweep(path: Path) -> None:
    """Remove what a killed writer of the file `path` left beside it (see `files`)."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)


def _named(holder: Path) -> str:
    try:
        return f" (process {int(json.loads(holder.read_text(encoding='utf-8'))['pid'])})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # it is just beginning or ending
