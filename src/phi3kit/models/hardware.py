"""Which device and which arithmetic: the meaning of "auto"."""

from __future__ import annotations

import contextlib
import gc
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from phi3kit.errors import ModelError

# What is there with a driver: NVIDIA's, AMD's, and under Windows' Linux (WSL2) the host's, where a
# card of any maker is one device and NVIDIA's library tells that it is one for CUDA.
_DRIVERS: Sequence[Sequence[str]] = (
    ("/dev/nvidiactl",), ("/dev/kfd",), ("/dev/dxg", "/usr/lib/wsl/lib/libcuda.so.1"))
# A container's limit, of either version of control groups.
_GROUPS: Sequence[Path] = (Path("/sys/fs/cgroup/memory.max"),
                           Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def pick_device(wanted: str) -> str:
    """"cpu", "cuda" or "mps"; "auto" takes a GPU when there is one.

    Raises:
        ModelError: the device that was asked for is not there.
    """
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(),
               "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return "cuda" if present["cuda"] else "mps" if present["mps"] else "cpu"
    if not present.get(wanted, False):
        raise ModelError(f"no {wanted} device here", where="model.device",
                         mend="Set model.device to auto; `phi3kit doctor` shows what is here")
    return wanted


def pick_dtype(wanted: str, device: str) -> str:
    """"bfloat16", "float16" or "float32"; "auto" takes the fast one of the device.

    bfloat16 needs hardware: without it, CPUs emulate it at a fraction of float32's speed.
    """
    if wanted != "auto":
        return wanted
    if device == "cuda":
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported(
            including_emulation=False) else "float16"
    if device == "cpu" and cpu_has_bfloat16():
        return "bfloat16"
    return "float32"


def emulates(dtype: str, device: str) -> bool:
    """Whether the device has no hardware for this arithmetic, as CUDA cards older than Ampere."""
    return dtype == "bfloat16" and device == "cuda" and pick_dtype("auto", device) == "float16"


def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512-BF16, AMX, or Arm's BF16)."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    for line in text.splitlines():
        label, _, value = line.partition(":")
        if label.strip() in ("flags", "Features"):
            return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(value.split())
    return False


def free_memory(device: str) -> int | None:
    """Bytes that this process may fill; None where that is not known.

    On a CUDA card what is free there; what torch has taken from the driver and does not use counts
    as free. Of main memory half, whatever else is running: the same command computes in the same
    way when it goes on.
    """
    if device == "cpu":
        have = _main_memory()
        return None if have is None else have // 2
    if device != "cuda":
        return None
    import torch

    free, _ = torch.cuda.mem_get_info()
    return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())


def _main_memory() -> int | None:
    """Bytes of main memory that this process may have, by the machine, its container and ulimit."""
    from phi3kit.runs import machine

    found = [machine()["memory_bytes"]]
    for group in _GROUPS:
        with contextlib.suppress(OSError, ValueError):  # "max" is none
            found.append(int(group.read_text(encoding="ascii")))
    with contextlib.suppress(ImportError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        found.append(None if limit == resource.RLIM_INFINITY else limit)
    return min((int(one) for one in found if one), default=None)


def release(device: str) -> None:
    """Give back memory that nothing uses any more: objects in cycles, and what torch keeps."""
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def has_gpu() -> bool:
    """Whether torch may find a GPU here, told without importing torch, which takes seconds."""
    if sys.platform == "darwin":
        return True
    if sys.platform == "win32":
        return shutil.which("nvidia-smi") is not None
    return any(all(Path(part).exists() for part in driver) for driver in _DRIVERS)
