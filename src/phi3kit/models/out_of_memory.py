"""Where memory ends: what did not fit, how much there was, and what would fit, in one line.

Torch, the C++ libraries and Python each tell of it in an error of their own.
"""

from __future__ import annotations

import contextlib
import errno
import re
import sys
from collections.abc import Callable, Iterator

from phi3kit.errors import OutOfMemoryError, Phi3kitError

# Of a CUDA card, cuBLAS, torch's allocator on the CPU, the system, OpenVINO, a C++ library.
_SIGNS = ("out of memory", "alloc_failed", "not enough memory", "can't alloc",
          "cannot allocate memory", "failed to allocate", "bad_alloc", "bad allocation")
_WANTED = re.compile(r"allocate (?:([\d.]+) (GiB|MiB|KiB)|(\d+) bytes)")
_UNITS = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a library's error says that memory has ended, on a card or on the host."""
    return isinstance(error, MemoryError) or (
        not isinstance(error, Phi3kitError)
        and (getattr(error, "errno", None) == errno.ENOMEM
             or any(sign in str(error).lower() for sign in _SIGNS)))


@contextlib.contextmanager
def out_of_memory(doing: str, mend: Callable[[], str], *, device: str) -> Iterator[None]:
    """Tell in one line that memory ended within the block; every other error stays as it is.

    Args:
        doing: what takes the memory, to stand behind "out of memory ", such as "loading x".
        mend: gives what to do about it; called when it is needed.
        device: "cpu", "cuda" or "mps", whose memory it is.

    Raises:
        OutOfMemoryError: memory has ended, and nothing within told what to do.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, Phi3kitError) or not is_out_of_memory(error):
            raise
        told = "; ".join(filter(None, (_wanted(error), _free(device))))
        raise OutOfMemoryError(f"out of memory {doing}{f' ({told})' if told else ''}",
                               mend=mend()) from error


def _wanted(error: BaseException) -> str:
    """What the allocation that failed asked for, where the error tells it."""
    found = _WANTED.search(str(error))
    if found is None:
        return ""
    number, unit, whole = found.groups()
    return f"{_size(int(whole) if whole else float(number) * _UNITS[unit])} more were asked for"


def _free(device: str) -> str:
    """What is left, and of what; "" where nobody tells."""
    from phi3kit.models.hardware import free_memory

    if device == "cpu":
        return f"{_size(_left_on_host())} are free"
    with contextlib.suppress(RuntimeError):  # a card that no longer answers
        if (left := free_memory(device)) is not None:
            return f"{_size(left)} are free on the card"
    return ""


def _left_on_host() -> int:
    """Bytes that this process can still take: of the machine, and of its own limit (ulimit -v)."""
    import psutil

    left = int(psutil.virtual_memory().available)
    if sys.platform != "win32":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            left = min(left, max(0, limit - int(psutil.Process().memory_info().vms)))
    return left


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
