"""Messages between a process and one of ours that it started, each with its length before it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import IO

import msgspec

from phi3kit import errors
from phi3kit.errors import Phi3kitError


class Refusal(msgspec.Struct, tag=True, frozen=True):
    """An error of ours on its way to who asked.

    Attributes:
        kind: its class in errors.py, or the nearest one above it there.
    """

    kind: str
    what: str
    where: str | None
    mend: str | None


def refusal(error: Phi3kitError) -> Refusal:
    """The error, to be sent."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    return Refusal(kind.__name__, error.what, error.where, error.mend)


def refused(told: Refusal) -> Phi3kitError:
    """The error that was sent, to be raised."""
    made: Phi3kitError = getattr(errors, told.kind)(told.what, where=told.where, mend=told.mend)
    return made


def start(module: str, *, stderr: int | None = None) -> subprocess.Popen[bytes]:
    """Run a module of ours, with pipes to its stdin and from its stdout.

    Args:
        stderr: as of subprocess.Popen; None: what it writes there is the user's to see.
    """
    # -P: a csv.py in the working folder is none of Python's own. A session of its own: Ctrl-C is
    # for us, and we end it.
    return subprocess.Popen([sys.executable, "-P", "-m", module], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=stderr, start_new_session=True)


def end(process: subprocess.Popen[bytes]) -> None:
    """End it, whatever it is doing; once is enough."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what it did not take any more
                pipe.close()


def ours() -> tuple[IO[bytes], IO[bytes]]:
    """In a process that was started so: where messages come from, and where answers go."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints would garble the answers
    return sys.stdin.buffer, answers


def send(pipe: IO[bytes], message: bytes) -> None:
    """Write a message."""
    pipe.write(len(message).to_bytes(8, "big"))
    pipe.write(message)
    pipe.flush()


def take(pipe: IO[bytes]) -> bytes | None:
    """The next message; None if the other side is gone."""
    head = pipe.read(8)
    if len(head) < 8:
        return None
    size = int.from_bytes(head, "big")
    message = pipe.read(size)
    return message if len(message) == size else None


def death(code: int) -> str:
    """How a process of this exit code came to its end."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")
