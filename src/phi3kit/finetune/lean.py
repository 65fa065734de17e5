"""What a training process on a CPU takes beside its tensors, kept small.

Two things are taken that no training needs. glibc gives each thread an arena of its own, so that
what one lane has freed lies idle while another asks for more. And oneDNN keeps the last 1,024
kernels that it made, of up to half a megabyte each: rows of varied length make new ones at every
step, of which few are met again. With one arena, and 128 kernels, more than a layer has shapes, a
training of 2.1 to 3.5 GB takes 0.35 to 0.4 GB less, in the same time (docs/log.md). What is left is
nearly the same for every adapter, so that `plan` can tell it (plan/process.py).

It would grow all the same: what stays from a step, its kernels, lies between blocks that the next
step wants in other sizes. So what is free is given back between steps.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import time
from collections.abc import Iterator

from phi3kit.models.hardware import has_gpu

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
_KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_KEPT = 128
_SECONDS = 1.0


def keep_lean(device: str) -> None:
    """For the whole process and its children, and before threads compute: what is there stays.

    Where the environment says otherwise, it is as the user has it; so it is on systems without
    glibc, which have no arenas.

    Args:
        device: as `model.device` has it; nothing is changed for a GPU's training.
    """
    # torch would tell better, but takes a second, and has threads.
    if device != "cpu" and (device != "auto" or has_gpu()):
        return
    os.environ.setdefault(_KERNELS, str(_KEPT))
    told = ("MALLOC_ARENA_MAX" in os.environ
            or "arena_max" in os.environ.get("GLIBC_TUNABLES", ""))
    if sys.platform == "linux" and not told:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_ARENA_MAX, 1)


class Pages:
    """The pages of a training that hold nothing, given back to the system between its steps.

    At most once a second: every page that is used again has to be asked for again, which is a
    hundredth of a long step, and would be the most of one that takes milliseconds.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        self._trim = getattr(libc, "malloc_trim", None)  # glibc's
        self._last = time.monotonic()

    def give_back(self) -> None:
        """Where the C library can."""
        if self._trim is not None and time.monotonic() - self._last >= _SECONDS:
            self._trim(0)
            self._last = time.monotonic()


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """What is there now, such as libraries, is not searched for garbage again and again.

    Python looks through all that it holds after every so many new objects, of which a step makes
    many: a fiftieth of the time.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
