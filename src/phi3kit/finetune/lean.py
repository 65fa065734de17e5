"""What a training process on a CPU takes beside its tensors, kept small.

Rows of varied length bring matrix products in new shapes at every step, of which few are met again.
oneDNN keeps the last 1,024 kernels that it made for them, and torch, through ideep, in each thread
the last 1,024 descriptions of such products, a quarter of a megabyte each. Of both a layer needs
a few dozen. With fewer kept, a training of 12 steps on rows of 40 to 700 tokens peaks at 1.9 GB in
place of 2.3, in the same time, and does not grow with its steps.

glibc gives each thread an arena of its own, so that what one lane has freed lies idle while another
asks for more. One for all costs some 7% of the time, and takes up to a tenth less memory: above all
memory that `plan` can tell (docs/log.md).

An aligned block that is free again is too small for the next one of its size, as glibc (2.36) looks
for them: it finds room beside what has been freed on both sides, or takes new memory. In float32
that comes to half as much again as is in use, so blocks of a quarter of a megabyte and more, which
are most of a pass, get pages of their own. In bfloat16, whose blocks are half as large and
computed faster, to clear these pages takes more of the time than it saves of the memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from phi3kit.models.hardware import has_gpu

# Read when the first product is computed: oneDNN's kernels, and ideep's descriptions per thread.
_KEPT: Mapping[str, int] = MappingProxyType(
    {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": 128, "LRU_CACHE_CAPACITY": 64})
# Options of malloc.h with their values, and what the environment says in their place.
_ONE_ARENA = (-8, 1, "MALLOC_ARENA_MAX", "arena_max")  # M_ARENA_MAX
_OWN_PAGES = (-3, 2**18, "MALLOC_MMAP_THRESHOLD_", "mmap_threshold")  # M_MMAP_THRESHOLD, bytes


def keep_lean(device: str, *, float32: bool = False) -> None:
    """For the whole process and its children, before threads compute: what is there stays.

    Where the environment says otherwise, it is as the user has it; so it is on systems without
    glibc, which have no arenas.

    Args:
        device: as `model.device` has it; nothing is changed for a GPU's training.
        float32: an adapter is trained in it.
    """
    # torch would tell better, but takes a second, and has threads.
    if device != "cpu" and (device != "auto" or has_gpu()):
        return
    for name, count in _KEPT.items():
        os.environ.setdefault(name, str(count))
    for option, value, variable, tunable in (_ONE_ARENA, *([_OWN_PAGES] if float32 else [])):
        told = variable in os.environ or tunable in os.environ.get("GLIBC_TUNABLES", "")
        if sys.platform == "linux" and not told:
            libc = ctypes.CDLL(None)
            if hasattr(libc, "mallopt"):
                libc.mallopt(option, value)


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """What is there now, such as libraries, is not searched for garbage again and again.

    Python looks through all that it holds after every so many new objects, of which a step makes
    many: a fiftieth of the time. Where the caller has seen to that, it stays as the caller has it:
    nobody can take back a part of what is frozen.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
