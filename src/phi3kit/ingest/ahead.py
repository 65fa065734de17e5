"""Work that goes on while other work does: each stage in a thread of its own, one item ahead.

Reading, cutting, embedding and storing use different parts of a machine: a process beside this
one, one core, all cores, the disk. One after another each would wait for the others.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_LOOK = 0.1  # seconds between two looks at whether to stop


class Ahead(Generic[T]):
    """The items of `items`, in order; a thread makes the next while the last one is used.

    What the thread raises is raised here, after the items before it.

    Args:
        stop: ends the thread, and the iteration, before the next item. Shared by the stages of
            a pipeline.
    """

    def __init__(self, items: Iterable[T], stop: threading.Event) -> None:
        self._stop = stop
        self._made: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(maxsize=1)
        self._thread = threading.Thread(target=self._make, args=(items,), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while not self._stop.is_set():
            try:
                kind, item = self._made.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if kind == "end":
                return
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]

    def join(self) -> None:
        """Wait for the thread, which has been told to stop or is at its end."""
        self._thread.join()

    def _make(self, items: Iterable[T]) -> None:
        try:
            for item in items:
                if not self._hand_over(("item", item)):
                    return
        except BaseException as error:  # whatever it is, it is the reader's to raise
            self._hand_over(("error", error))
        else:
            self._hand_over(("end", None))

    def _hand_over(self, made: tuple[str, T | BaseException | None]) -> bool:
        while not self._stop.is_set():
            try:
                self._made.put(made, timeout=_LOOK)
                return True
            except queue.Full:
                continue
        return False
