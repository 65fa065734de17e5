"""What a training process on a CPU takes beside its tensors."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from phi3kit.errors import DataError
from phi3kit.finetune import lean, train
from phi3kit.models import hardware
from phi3kit.models.hardware import cpu_has_bfloat16
from phi3kit.settings import load

# Threads that ask for memory at the same time, and how many arenas there are then.
COUNT = """
import ctypes, sys, threading
from phi3kit.finetune.lean import keep_lean
if sys.argv[1] == "lean":
    keep_lean("cpu")
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
    kept = {key: value for key, value in os.environ.items()
            if key != "GLIBC_TUNABLES" and not key.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", COUNT, how], env={**kept, **environment},
                          capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others have no arenas")
def test_all_threads_take_from_one_arena_unless_the_user_says_otherwise() -> None:
    assert arenas("as it is") > 1
    assert arenas("lean") == 1
    assert arenas("lean", MALLOC_ARENA_MAX="4") > 1
    assert arenas("lean", GLIBC_TUNABLES="glibc.malloc.arena_max=4") > 1


FREED = """
import ctypes, sys
from phi3kit.finetune.lean import keep_lean
keep_lean("cpu", float32=sys.argv[1] == "float32")
libc = ctypes.CDLL(None)
libc.posix_memalign.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
libc.free.argtypes, libc.malloc_usable_size.argtypes = [ctypes.c_void_p], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def block(size):
    pointer = ctypes.c_void_p()
    assert libc.posix_memalign(ctypes.byref(pointer), 64, size) == 0
    libc.memset(pointer, 1, size)
    return pointer
size = 3 * 2**20
libc.free(block(2 * size))  # smaller ones are the arena's from now on, unless there is a threshold
kept = []
for _ in range(50):  # a layer keeps one of two, as a forward pass does
    kept.append(block(size))
    libc.free(block(size - 4096 * len(kept)))
end = block(100_000)  # what lies below the arena's end is not given back
for pointer in kept:
    libc.free(pointer)
print(open("/proc/self/status").read().split("VmRSS:")[1].split()[0])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others have no such option")
def test_in_float32_large_blocks_that_are_freed_are_no_longer_resident() -> None:
    def resident(dtype: str, **environment: str) -> int:
        kept = {key: value for key, value in os.environ.items()
                if key != "GLIBC_TUNABLES" and not key.startswith("MALLOC_")}
        done = subprocess.run([sys.executable, "-c", FREED, dtype],
                              env={**kept, **environment},
                              capture_output=True, text=True, check=True)
        return int(done.stdout)

    least = 100 * 1024  # KiB, of the 150 MiB that were in use
    own = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
    assert resident("float32", **own) > resident("float32") + least  # as the user has it
    assert resident("bfloat16", **own) > resident("float32") + least


KERNELS = """
from phi3kit.finetune.lean import keep_lean
keep_lean("cpu")
import torch
with torch.no_grad():
    weight = torch.zeros(512, 512, dtype=torch.bfloat16)
    for rows in range(1, 600):
        torch.zeros(rows, 512, dtype=torch.bfloat16) @ weight
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def peak(**environment: str) -> int:
    """KiB of a process that multiplies in 600 shapes."""
    kept = {key: value for key, value in os.environ.items() if key not in lean._KEPT}
    done = subprocess.run([sys.executable, "-c", KERNELS], env={**kept, **environment},
                          capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64"
                    or not cpu_has_bfloat16(), reason="other kernels, and smaller ones")
@pytest.mark.parametrize("name", lean._KEPT)
def test_little_is_kept_of_shapes_that_were_met(name: str) -> None:
    """Of the kernels themselves, and of what describes the products, by 500 shapes."""
    assert peak() < peak(**{name: "1024"}) - 20 * 1024


def test_a_training_keeps_lean_on_a_cpu_and_leaves_that_on_a_card_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(train, "keep_lean", lambda device, float32: asked.append((device, float32)))
        (project / "none.jsonl").write_text("")
        for own in ({"model.dtype": "bfloat16"}, {"model.dtype": "float32"},
                    {"model.dtype": "float32", "finetune.full": True}):
            with pytest.raises(DataError):
                train.finetune(load({"finetune.dataset": "none.jsonl", "model.device": "cpu",
                                     **own}).values)
    assert asked == [("cpu", False), ("cpu", True), ("cpu", False)]
    for name in lean._KEPT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")  # the user's
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")  # not of the tests' own process
    monkeypatch.setattr(hardware, "_DRIVERS", ((str(project),),))  # one that is there
    for device in ("cuda", "mps", "auto"):
        lean.keep_lean(device)
        assert "ONEDNN_PRIMITIVE_CACHE_CAPACITY" not in os.environ
    monkeypatch.setattr(hardware, "_DRIVERS", ((str(project), str(project / "none")),))
    lean.keep_lean("auto")
    assert os.environ.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY") == "128"
    assert os.environ["LRU_CACHE_CAPACITY"] == "7"


def test_what_was_there_is_searched_for_garbage_after_training_again() -> None:
    gc.unfreeze()
    with pytest.raises(ZeroDivisionError), lean.settled():
        assert gc.get_freeze_count() > 1000
        raise ZeroDivisionError
    assert gc.get_freeze_count() == 0


def test_what_the_caller_settled_stays_settled() -> None:
    gc.freeze()
    settled = gc.get_freeze_count()
    with lean.settled():
        pass
    assert gc.get_freeze_count() > settled // 2 > 1000


OWN_PEAK = """
import subprocess, sys
held = bytearray(700 * 2**20)
code = "from phi3kit.finetune.session import _peak_memory; print(_peak_memory('cpu'))"
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is inherited")
def test_the_peak_is_that_of_the_process_not_of_who_started_it() -> None:
    done = subprocess.run([sys.executable, "-c", OWN_PEAK], capture_output=True, text=True,
                          check=True)
    assert 0 < int(done.stdout) < 300 * 2**20
