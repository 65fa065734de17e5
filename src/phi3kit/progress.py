"""Progress on stderr, so that stdout stays what was asked for.

On a terminal: a bar. Elsewhere (CI, nohup, a pipe): one line when a step begins, one when it
ends, and between them one now and then, because a log full of carriage returns helps nobody.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

Advance = Callable[[int], None]

# Where there is no terminal, a line is due when both have passed since the last one.
_EVERY_SECONDS = 60.0
_EVERY_SHARE = 0.1


class Bar(Protocol):
    """What `bar` yields."""

    def __call__(self, n: int = 1, said: str = "") -> None:
        """Tell that `n` more are done, and how it stands ("loss 0.31"); "" changes nothing."""


@contextmanager
def bar(description: str, total: int | None, *, patience: float = 0.0) -> Iterator[Bar]:
    """Show the progress of a step; yields `advance(n)`, called when `n` more are done.

    `advance(n, said)` also says how it stands, behind the description.

    Args:
        description: what is being done, e.g. "embedding".
        total: how many there are; None when it cannot be known.
        patience: seconds, where there is no terminal: a step that takes no longer is not told.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as progress:
            task = progress.add_task(description, total=total)

            def move(n: int = 1, said: str = "") -> None:
                text = f"{description}  {said}" if said else None
                progress.update(task, advance=n, description=text)

            yield move
        return
    started = told_at = time.monotonic()
    done, told, last, begun = 0, 0, "", False

    def begin() -> None:
        nonlocal begun
        if not begun and time.monotonic() - started >= patience:
            begun = True
            note(f"{description} …" if total is None else f"{description} ({total}) …")

    def advance(n: int = 1, said: str = "") -> None:
        nonlocal done, told, told_at, last
        done, last = done + n, said or last
        begin()
        now = time.monotonic()
        if now - told_at >= _EVERY_SECONDS and done - told >= (total or 0) * _EVERY_SHARE:
            told, told_at = done, now
            note(_so_far(description, done, total, now - started, last))

    begin()
    yield advance
    if begun:
        note(f"{description}: {done} in {time.monotonic() - started:.1f} s"
             + (f" ({last})" if last else ""))


def _so_far(description: str, done: int, total: int | None, seconds: float, said: str) -> str:
    of = "" if total is None else f" of {total} ({done / total:.0%})" if total else ""
    return f"{description}: {done}{of} in {seconds:,.0f} s" + (f" ({said})" if said else "")


def note(line: str) -> None:
    """Say one line on stderr, with control characters made visible."""
    safe = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    print(safe, file=sys.stderr, flush=True)
