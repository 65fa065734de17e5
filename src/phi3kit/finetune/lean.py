"""What a training process on a CPU takes beside its tensors, kept small.

Two things are taken that no training needs. glibc gives each thread an arena of its own, so that
what one lane has freed lies idle while another asks for more. And oneDNN keeps the last 1,024
kernels that it made, of up to half a megabyte each: rows of varied length make new ones at every
step, of which few are met again. With one arena, and 128 kernels, more than a layer has shapes, a
training of 2.1 to 3.5 GB takes 0.35 to 0.4 GB less, in the same time (docs/log.md). What is left is
nearly the same for every training, so that `plan` can tell it (plan/process.py).
"""

from __future__ import annotations

import ctypes
import os
import sys

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
_KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_KEPT = 128


def keep_lean() -> None:
    """For the whole process, and before its threads compute: what is there stays.

    Where the environment says otherwise, it is as the user has it; so it is on systems without
    glibc, which have no arenas.
    """
    os.environ.setdefault(_KERNELS, str(_KEPT))
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_ARENA_MAX, 1)

