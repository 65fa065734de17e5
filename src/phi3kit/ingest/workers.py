"""Files are read in a process of their own, with limits on its memory and time.

A document comes from anywhere: it may be made to eat all memory, to take for ever, or to
crash a library. That ends the worker and fails that one file; the next one gets a new worker.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType

from phi3kit.errors import DataError
from phi3kit.ingest import pipes
from phi3kit.ingest.document import Document
from phi3kit.ingest.readers.worker import Lost, Read, Refused, Reply, receive

SECONDS = 30  # for one file


class Readers:
    """Reads files in one worker, which is kept for all of them and replaced when one kills it.

    A context manager: entering it starts the worker, without waiting for it; leaving it ends
    the worker, whatever it is doing.

    Args:
        seconds: how long one file may take.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._watch = _Watch(seconds)
        self._worker: subprocess.Popen[bytes] | None = None
        self._begun: Path | None = None

    def __enter__(self) -> Readers:
        self._started()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._watch.close()
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
        self._watch.begin(worker)
        try:
            reply = _receive(worker)
        except BaseException:
            self._end()
            raise
        finally:
            late = self._watch.end()
        self._begun = None
        if late or reply is None or reply.last:
            self._end()
        if reply is not None:
            return _outcome(reply.answer)
        if late:
            raise DataError(f"not read within {self._watch.seconds:g} s")
        raise DataError(f"its reader {pipes.death(worker.returncode)}")

    def _started(self) -> subprocess.Popen[bytes]:
        """The worker, a new one if there is none or it died without work."""
        if self._worker is not None and self._begun is None and self._worker.poll() is not None:
            self._end()
        if self._worker is None:
            self._worker = pipes.start("phi3kit.ingest.readers.worker",
                                       stderr=subprocess.DEVNULL)
        return self._worker

    def _end(self) -> None:
        worker, self._worker, self._begun = self._worker, None, None
        if worker is not None:
            pipes.end(worker)


class _Watch:
    """Kills a worker that takes too long for a file.

    One thread for all of them: starting one for each takes longer than reading most.

    Args:
        seconds: how long one file may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._due = 0.0
        self._late = False
        self._over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def begin(self, worker: subprocess.Popen[bytes]) -> None:
        """From now on `worker` has its seconds."""
        with self._lock:
            self._worker, self._late = worker, False
            self._due = time.monotonic() + self.seconds

    def end(self) -> bool:
        """It is done, or dead; whether it was killed for its time."""
        with self._lock:
            self._worker = None
            return self._late

    def close(self) -> None:
        """Watch no more."""
        self._over.set()

    def _look(self) -> None:
        pause = often = self.seconds / 20
        while not self._over.wait(pause):
            pause = often
            with self._lock:
                if self._worker is None:
                    continue
                left = self._due - time.monotonic()
                if left > 0:
                    pause = min(left, often)
                else:
                    self._late = True
                    self._worker.kill()
                    self._worker = None


def _outcome(answer: Read | Refused | Lost) -> tuple[str, Document]:
    if isinstance(answer, Lost):
        raise OSError(answer.errno, answer.why)
    if isinstance(answer, Refused):
        raise DataError(answer.what, mend=answer.mend)
    return answer.sha256, answer.document


def _send(worker: subprocess.Popen[bytes], path: Path) -> None:
    assert worker.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # then there will be no answer either
        pipes.send(worker.stdin, os.fsencode(path))


def _receive(worker: subprocess.Popen[bytes]) -> Reply | None:
    """The worker's answer; None if it died."""
    assert worker.stdout is not None
    return receive(worker.stdout)
