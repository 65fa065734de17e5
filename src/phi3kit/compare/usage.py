"""What a machine gave while arms answered: time, peak memory, energy. Kept in usage.json.

A run that goes on after an interruption adds to what the earlier one measured.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from phi3kit.compare.energy import Counter, open_counters
from phi3kit.errors import RunError
from phi3kit.files import write_json
from phi3kit.progress import Advance

if TYPE_CHECKING:
    from phi3kit.compare.arms import Bench

USAGE = "usage.json"
# Seconds between two looks. A batch holds its memory for longer than that, and a look takes
# some microseconds.
_PACE = 0.05


class Used(msgspec.Struct, frozen=True):
    """What an arm took.

    Attributes:
        answers: how many it gave while this was measured.
        seconds: wall time over all of them, searching included.
        memory_bytes: peak of the process (CPU), or what torch had allocated (CUDA); None for a
            server's.
        joules: over all of them; None where not counted throughout.
        counted: of what, in words.
        searched: answers whose passages had to be searched for; another arm's are shared. All
            are searched for before the first answer, so that of a run that was interrupted it
            is the share that was answered, and no whole number.
        search_seconds: what that took.
    """

    answers: int
    seconds: float
    memory_bytes: int | None = None
    joules: float | None = None
    counted: str = ""
    searched: float = 0.0
    search_seconds: float = 0.0

    def and_then(self, later: Used) -> Used:
        """Both together."""
        joules = None if self.joules is None or later.joules is None else (
            self.joules + later.joules)
        peaks = [used.memory_bytes for used in (self, later) if used.memory_bytes is not None]
        return Used(self.answers + later.answers, self.seconds + later.seconds,
                    max(peaks, default=None), joules, later.counted if joules is not None else "",
                    self.searched + later.searched, self.search_seconds + later.search_seconds)


class Measured(msgspec.Struct, frozen=True):
    """usage.json.

    Attributes:
        load_seconds: model and index, once; None when nothing was loaded yet.
        arms: by the arm's name, with the sheet's before it for other than the held-out questions.
    """

    load_seconds: float | None = None
    arms: dict[str, Used] = {}


def read_usage(run: Path) -> Measured:
    """What was measured in a run folder; nothing where there is no file.

    Raises:
        RunError: the file is damaged.
    """
    try:
        return msgspec.json.decode((run / USAGE).read_bytes(), type=Measured)
    except FileNotFoundError:
        return Measured()
    except (msgspec.DecodeError, RecursionError) as error:
        raise RunError(f"{USAGE} cannot be read ({error})", where=str(run),
                       mend="Remove that file, or run compare again with --fresh") from error


class Search(Protocol):
    """What finds passages for several arms, once.

    Attributes:
        searched: questions that it searched for so far.
        seconds: what that took.
    """

    searched: int
    seconds: float


class Meter:
    """Measures while arms answer.

    Attributes:
        device: where the model computes: "cpu", "cuda", "mps", or None for a server.
        search: what finds the passages; None when no arm retrieves.
    """

    def __init__(self, run: Path, device: str | None = None) -> None:
        self._run = run
        self.device = device
        self.search: Search | None = None

    def of(self, bench: Bench) -> None:
        """Measure what is on this bench."""
        from phi3kit.models.generate import LocalGenerator

        search: Any = bench.readers.get("search")
        self.search = search
        if isinstance(bench.generator, LocalGenerator):
            self.device = bench.generator.loaded.device

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Time the opening of model and index."""
        started = time.perf_counter()
        yield
        self._keep(msgspec.structs.replace(
            read_usage(self._run), load_seconds=time.perf_counter() - started))

    @contextlib.contextmanager
    def watch(self, arm: str, advance: Advance, *, asked: int) -> Iterator[Advance]:
        """Measure one arm; yields `advance`, to be called with each batch's number of answers.

        What is kept ends with the last batch that was told of, so an interruption costs nothing
        but the batch at hand.

        Args:
            asked: how many answers it is to give.
        """
        watch = _Watch(self.device, self.search, asked)

        def counted(n: int) -> None:
            watch.done(n)
            advance(n)

        with watch.sampled():
            try:
                yield counted
            finally:
                if watch.used is not None:
                    self._add(arm, watch.used)

    def _add(self, arm: str, used: Used) -> None:
        known = read_usage(self._run)
        before = known.arms.get(arm)
        self._keep(Measured(known.load_seconds, {
            **known.arms, arm: before.and_then(used) if before else used}))

    def _keep(self, measured: Measured) -> None:
        write_json(self._run / USAGE, msgspec.to_builtins(measured))


class _Watch:
    """Looks at memory and counters, in a thread of its own, until `sampled` is left."""

    def __init__(self, device: str | None, search: Search | None, asked: int) -> None:
        self._search = search
        self._asked = asked
        self._searched = (search.searched, search.seconds) if search else (0, 0.0)
        self.used: Used | None = None
        self._counters: Sequence[Counter] = open_counters(device) if device else ()
        self._memory = _memory(device)
        self._peak: int | None = None
        self._lock = threading.Lock()
        self._started = time.perf_counter()

    @contextlib.contextmanager
    def sampled(self) -> Iterator[None]:
        stopped = threading.Event()

        def look_on() -> None:
            while not stopped.wait(_PACE):
                self._look()

        thread = threading.Thread(target=look_on, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def done(self, answers: int) -> None:
        """So many more are there: what was taken until now is theirs."""
        joules = self._look()
        total = (self.used.answers if self.used else 0) + answers
        searched, seconds = self._searched
        # What is not answered now is searched for again by whoever goes on.
        share = total / self._asked
        self.used = Used(
            total, time.perf_counter() - self._started, self._peak, joules,
            " and ".join(c.part for c in self._counters) if joules is not None else "",
            share * (self._search.searched - searched) if self._search else 0.0,
            share * (self._search.seconds - seconds) if self._search else 0.0)

    def _look(self) -> float | None:
        with self._lock:
            if self._memory is not None:
                self._peak = max(self._peak or 0, self._memory())
            counts = [counter.joules() for counter in self._counters]
        found = [count for count in counts if count is not None]
        return sum(found) if found and len(found) == len(counts) else None


def _memory(device: str | None) -> Callable[[], int] | None:
    """What tells the memory in use, in bytes; None where nothing tells the model's."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return lambda: int(torch.cuda.max_memory_allocated())
    if device == "cpu":
        import psutil  # comes with accelerate

        process: Any = psutil.Process()
        return lambda: int(process.memory_info().rss)
    return None
