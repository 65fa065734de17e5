"""One writer at a time: an operating system's lock, which a killed process cannot leave behind."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from phi3kit.errors import StoreError
from phi3kit.files import write_json


@contextlib.contextmanager
def writer(folder: Path) -> Iterator[None]:
    """Hold the right to write to the store in `folder`; made if it is missing.

    Raises:
        StoreError: another process holds it (named by its process ID), or the folder cannot
            be written.
    """
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
            sweep(holder)
            write_json(holder, {"pid": os.getpid()})
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
