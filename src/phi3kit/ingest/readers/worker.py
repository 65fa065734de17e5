"""The process that reads: paths in, documents out, and no more memory than it may have."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
from pathlib import Path
from typing import IO

import msgspec

from phi3kit.errors import DataError
from phi3kit.files import sha256_bytes
from phi3kit.ingest.document import Document
from phi3kit.ingest.pipes import ours, send, take
from phi3kit.ingest.readers import limit_of, read_document

# Of its own data; with the libraries' code, which is not counted, it stays below 1 GiB.
MEMORY = 800 * 2**20
WORN = MEMORY // 2
# An orphan ends itself: longer than any parent waits.
ORPHAN_SECONDS = 120


class Read(msgspec.Struct, tag=True, frozen=True):
    """A file that was read."""

    sha256: str
    document: Document


class Refused(msgspec.Struct, tag=True, frozen=True):
    """A file that cannot be read, as a DataError."""

    what: str
    mend: str | None = None


class Lost(msgspec.Struct, tag=True, frozen=True):
    """A file that the system does not give, as an OSError."""

    errno: int
    why: str


class Reply(msgspec.Struct, frozen=True):
    """What became of a file; `last`: the worker is worn out and answers no more."""

    answer: Read | Refused | Lost
    last: bool


_REPLY = msgspec.msgpack.Decoder(Reply)
_encode = msgspec.msgpack.Encoder().encode


def receive(pipe: IO[bytes]) -> Reply | None:
    """The next reply; None if the worker is gone."""
    message = take(pipe)
    return None if message is None else _REPLY.decode(message)


def answer(path: Path) -> Read | Refused | Lost:
    """Read one file."""
    try:
        data = load(path)
        return Read(sha256_bytes(data), read_document(path, data))
    except DataError as error:
        return Refused(error.what, error.mend)
    except OSError as error:
        return Lost(error.errno or 0, error.strerror or str(error))
    except MemoryError:
        return Refused(f"it takes more than {MEMORY // 2**20} MiB of memory to read")
    except Exception as error:
        # A library met what it does not expect. Which of its errors that raises is unknown.
        why = " ".join(str(error).split())[:120]
        return Refused(f"it cannot be read ({type(error).__name__}{why and ': '}{why})")


def load(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        DataError: too large, or no file.
        OSError: it cannot be opened or read.
    """
    # Without waiting: what was a file when it was found may be a pipe by now.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DataError("not a file")
        limit = limit_of(path)
        data = file.read(limit + 1) if status.st_size <= limit else b""
        if status.st_size > limit or len(data) > limit:
            raise DataError(f"{status.st_size / 2**20:,.0f} MiB are too much for one "
                            f"'{path.suffix}' file",
                            mend=f"Split it into files of at most {limit // 2**20} MiB")
        return data


def _confine() -> None:
    """Set the limit on memory, where the system has one that counts what is used.

    Address space (RLIMIT_AS) would count what libraries reserve and never touch; data
    (RLIMIT_DATA) counts what is theirs to write, mappings included, on Linux.
    """
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _is_worn() -> bool:
    """Whether a file left so little room for the next one that a fresh process reads better."""
    if sys.platform != "linux":
        return False
    # Not getrusage's peak, which a process inherits from the one that started it.
    pages = Path("/proc/self/statm").read_bytes().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") > WORN


def _reply(path: Path) -> bytes:
    result = answer(path)
    try:
        return _encode(Reply(result, _is_worn()))
    except MemoryError:
        return _encode(Reply(Refused("its text is too long for the memory"), True))


def main() -> None:
    """Answer paths from stdin until it closes."""
    source, replies = ours()
    _confine()
    alarm = getattr(signal, "alarm", lambda seconds: None)
    while (path := take(source)) is not None:
        alarm(ORPHAN_SECONDS)
        message = _reply(Path(os.fsdecode(path)))
        alarm(0)
        with contextlib.suppress(BrokenPipeError):
            send(replies, message)


if __name__ == "__main__":
    main()
