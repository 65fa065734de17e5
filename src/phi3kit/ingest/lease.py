"""The right to write to a store on a server: a lease that is kept fresh and cannot be taken twice.

A lease is an empty collection, for a server makes only one of a name, whoever asks. Its name
ends in a number, its metadata tells the holder, and a beat in it changes while the holder
lives. No clocks are compared: who finds a lease watches it, and takes the next number when the
beat has stood still for `STALE` seconds. A killed writer so locks for that long and no longer.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from phi3kit.errors import StoreError
from phi3kit.ingest.faults import explained
from phi3kit.progress import note

PREFIX = "phi3kit-writer-"
BEAT = 3.0  # seconds between two beats
STALE = 15.0  # seconds without one after which the holder counts as gone
_PACE = 0.5  # seconds between two looks at somebody's lease

_leases: dict[str, _Lease] = {}


@contextlib.contextmanager
def held(client: Any, where: str) -> Iterator[None]:
    """Hold the lease of the server's database.

    Args:
        client: Chroma's, and nobody else's: the beats go through it.
        where: the server, as messages name it.

    Raises:
        StoreError: another process holds it (named), or the server cannot be reached.
    """
    lease = _Lease(client, where)
    lease.take()
    _leases[where] = lease
    try:
        yield
    finally:
        del _leases[where]
        lease.release()


def require(where: str) -> None:
    """Before each write: see that a lease of this process, if it has one, is still its own.

    Raises:
        StoreError: another process took it over, for this one stood still for too long.
    """
    lease = _leases.get(where)
    if lease is not None and lease.lost:
        raise StoreError("another process took over the writing, for this one stood still too "
                         "long", where=where, mend="Run phi3kit ingest again: it goes on from "
                                                   "here")


class _Lease:
    def __init__(self, client: Any, where: str) -> None:
        self._client = client
        self._where = where
        self._name = ""
        self._holder = f"process {os.getpid()} on {socket.gethostname()}"
        self._done = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._collection: Any = None
        self.lost = False

    def take(self) -> None:
        with explained(self._where):
            old = self._stale()
            number = 1 + max((_number(name) for name in old), default=0)
            self._create(f"{PREFIX}{number}")
            # Two may have made different numbers; each sees the other here, or it came later.
            if set(self._names()) - {*old, self._name}:
                self._client.delete_collection(self._name)
                raise self._refusal("")
            for name in old:
                with contextlib.suppress(Exception):  # its holder may wake up and do it
                    self._client.delete_collection(name)
        self._beating.start()

    def release(self) -> None:
        self._done.set()
        self._beating.join()
        if not self.lost:
            with contextlib.suppress(Exception):  # a server that is gone: it goes stale
                self._client.delete_collection(self._name)

    def _create(self, name: str) -> None:
        try:
            self._collection = self._client.create_collection(
                name, embedding_function=None, metadata=self._metadata())
        except Exception as error:
            if "already exists" in str(error):
                raise self._refusal("") from error
            raise
        self._name = name

    def _stale(self) -> list[str]:
        """Names of the leases that are there and whose holders are gone.

        Raises:
            StoreError: one of them beats.
        """
        seen = self._beats()
        if not seen:
            return []
        note(f"another process has been writing to {self._where}; waiting up to {STALE:g} s to "
             "see whether it still is …")
        until = time.monotonic() + STALE
        while time.monotonic() < until:
            time.sleep(_PACE)
            now = self._beats()
            for name, (beat, holder) in now.items():
                if seen.get(name, ("", ""))[0] != beat:
                    raise self._refusal(holder)
            if not now:
                return []
        return list(seen)

    def _beats(self) -> dict[str, tuple[str, str]]:
        """The beat and the holder of each lease."""
        return {held.name: (str((held.metadata or {}).get("beat", "")),
                            str((held.metadata or {}).get("holder", "")))
                for held in self._client.list_collections() if held.name.startswith(PREFIX)}

    def _names(self) -> list[str]:
        return list(self._beats())

    def _refusal(self, holder: str) -> StoreError:
        return StoreError("another process is writing to the store"
                          + (f" ({holder})" if holder else ""), where=self._where,
                          mend="Wait until it is done")

    def _metadata(self) -> dict[str, str]:
        return {"holder": self._holder, "beat": uuid.uuid4().hex}

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._done.wait(BEAT):
            try:
                self._collection.modify(metadata=self._metadata())
                last = time.monotonic()
            except Exception as error:  # the server is gone, or the lease is
                gone = type(error).__name__ == "NotFoundError"
                # Before others may take it: what is written after that could meet theirs.
                self.lost = gone or time.monotonic() - last > STALE - BEAT
                if self.lost:
                    return


def _number(name: str) -> int:
    try:
        return int(name.removeprefix(PREFIX))
    except ValueError:
        return 0
