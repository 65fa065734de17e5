"""What a training process on a CPU takes beside its tensors."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Threads that ask for memory at the same time, and how many arenas there are then.
COUNT = """
import ctypes, sys, threading
from phi3kit.finetune.lean import keep_lean
if sys.argv[1] == "lean":
    keep_lean()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.fdopen.restype, libc.malloc_info.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
met = threading.Barrier(4)
def work():
    met.wait()
    libc.malloc(50_000)
    met.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
file = libc.fdopen(1, b"w")
libc.malloc_info(0, file)
libc.fflush(ctypes.c_void_p(file))
"""


def arenas(how: str, **environment: str) -> int:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", COUNT, how], env={**kept, **environment},
                          capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_all_threads_take_from_one_arena_unless_the_user_says_otherwise() -> None:
    assert arenas("as it is") > 1
    assert arenas("lean") == 1
    assert arenas("lean", MALLOC_ARENA_MAX="4") > 1


KERNELS = """
import os, resource, sys
from phi3kit.finetune.lean import keep_lean
keep_lean()
import torch
with torch.no_grad():
    weight = torch.zeros(512, 512, dtype=torch.bfloat16)
    for rows in range(1, 600):
        torch.zeros(rows, 512, dtype=torch.bfloat16) @ weight
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(**environment: str) -> int:
    """KiB of a process that multiplies in 600 shapes."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ONEDNN_")}
    done = subprocess.run([sys.executable, "-c", KERNELS], env={**kept, **environment},
                          capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory in KiB")
def test_few_kernels_of_shapes_that_were_met_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from phi3kit.models.hardware import cpu_has_bfloat16

    if not cpu_has_bfloat16():
        pytest.skip("other kernels, and smaller ones")
    assert peak() < peak(ONEDNN_PRIMITIVE_CACHE_CAPACITY="1024") - 20 * 1024
