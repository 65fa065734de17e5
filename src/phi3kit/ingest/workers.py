"""Files are read in a process of their own, with limits on its memory and time.

A document comes from anywhere: it may be made to eat all memory, to take for ever, or to
crash a library. That ends the worker and fails that one file; the next one gets a new worker.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document
from phi3kit.ingest.readers.worker import Lost, Read, Refused, Reply, receive, send

SECONDS = 30  # for one file


class Readers:
    """Reads files in one worker, which is kept for all of them and replaced when one kills it.

    A context manager: entering it starts the worker, without waiting for it; leaving it ends
    the worker, whatever it is doing.

    Args:
        seconds: how long one file may take.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._worker: subprocess.Popen[bytes] | None = None
        self._begun: Path | None = None

    def __enter__(self) -> Readers:
        self._started()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._end()

    def interrupt(self) -> None:
        """Give up the file that another thread is waiting for; `read` fails there."""
        worker = self._worker
        if worker is not None:
            worker.kill()

    def begin(self, path: Path) -> None:
        """Have the file read while the caller does something else; `read` it next."""
        if self._begun is None:
            _send(self._started(), path)
            self._begun = path

    def read(self, path: Path) -> tuple[str, Document]:
        """The SHA-256 of a file's bytes as 64 hexadecimal digits, and its document.

        Raises:
            DataError: as `read_document`, or the file is too large, took too long, needed
                too much memory or crashed its reader. The file's name is left to the caller.
            OSError: the file cannot be opened or read.
        """
        if self._begun not in (None, path):
            self._end()  # what was begun is not wanted any more
        self.begin(path)
        worker = self._started()
        late = threading.Event()

        def give_up() -> None:
            late.set()
            worker.kill()

        timer = threading.Timer(self._seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            reply = _receive(worker)
        except BaseException:
            self._end()
            raise
        finally:
            timer.cancel()
        self._begun = None
        if late.is_set() or reply is None or reply.last:
            self._end()
        if reply is not None:
            return _outcome(reply.answer)
        if late.is_set():
            raise DataError(f"not read within {self._seconds:g} s")
        raise DataError(f"its reader {death(worker.returncode)}")

    def _started(self) -> subprocess.Popen[bytes]:
        """The worker, a new one if there is none or it died without work."""
        if self._worker is not None and self._begun is None and self._worker.poll() is not None:
            self._end()
        if self._worker is None:
            # -P: a csv.py in the working folder is none of Python's own. A session of its
            # own: Ctrl-C is for us, and we end the worker.
            self._worker = subprocess.Popen(
                [sys.executable, "-P", "-m", "phi3kit.ingest.readers.worker"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                start_new_session=True)
        return self._worker

    def _end(self) -> None:
        worker, self._worker, self._begun = self._worker, None, None
        if worker is None:
            return
        worker.kill()
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what it did not take any more
                    pipe.close()


def _outcome(answer: Read | Refused | Lost) -> tuple[str, Document]:
    if isinstance(answer, Lost):
        raise OSError(answer.errno, answer.why)
    if isinstance(answer, Refused):
        raise DataError(answer.what, mend=answer.mend)
    return answer.sha256, answer.document


def _send(worker: subprocess.Popen[bytes], path: Path) -> None:
    assert worker.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # then there will be no answer either
        send(worker.stdin, os.fsencode(path))


def _receive(worker: subprocess.Popen[bytes]) -> Reply | None:
    """The worker's answer; None if it died."""
    assert worker.stdout is not None
    return receive(worker.stdout)


def death(code: int) -> str:
    """How a process of this exit code came to its end."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (", as when memory runs out" if name == "SIGKILL" else "")
