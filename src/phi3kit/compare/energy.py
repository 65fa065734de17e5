"""Joules, read from the counters that a machine keeps; where it keeps none, there are none.

Nothing is estimated from times or nominal watts. The counters are of whole parts, so whatever
else runs on the machine meanwhile is in them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("/sys/class/powercap")


class Counter(Protocol):
    """Whatever counts energy; `part` says of what."""

    part: str

    def joules(self) -> float | None:
        """Counted since it was made; None once it could not be read."""
        ...


@dataclass
class _Zone:
    """One RAPL domain: microjoules that begin again at zero after `span`."""

    path: Path
    span: int
    last: int
    counted: int = 0

    def advance(self) -> None:
        now = _whole(self.path / "energy_uj")
        self.counted += now - self.last + (self.span if now < self.last else 0)
        self.last = now


@dataclass
class Processor:
    """Processor packages and their memory, by RAPL as Linux shows it (powercap/intel-rapl).

    Newer kernels let only root read it. It begins again at zero after some minutes of work, so
    it has to be read every minute or so.

    Attributes:
        part: what is counted.
    """

    zones: Sequence[_Zone]
    part: str = "processor"
    _lost: bool = field(default=False, repr=False)

    def joules(self) -> float | None:
        """Since it was opened; None once it could not be read, for a part would be too little."""
        try:
            for zone in self.zones:
                zone.advance()
        except (OSError, ValueError):
            self._lost = True
        return None if self._lost else sum(zone.counted for zone in self.zones) / 1e6


def open_processor(folder: Path = POWERCAP) -> Processor | None:
    """The counters in `folder`; None where there are none or they cannot be read.

    Of the domains, packages and their DRAM are counted: `core` and `uncore` lie within a
    package, `psys` around all, and intel-rapl-mmio shows the same packages once more.
    """
    zones, parts = [], []
    try:
        for path in sorted(folder.glob("intel-rapl:*")):
            name = (path / "name").read_text(encoding="ascii").strip()
            if name == "dram" or name.startswith("package"):
                zones.append(_Zone(path, _whole(path / "max_energy_range_uj"),
                                   _whole(path / "energy_uj")))
                parts.append(name)
    except (OSError, ValueError):
        return None
    if not any(name.startswith("package") for name in parts):
        return None
    return Processor(zones, "processor and memory" if "dram" in parts else "processor")


def _whole(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


class Gpu:
    """An NVIDIA GPU, by the driver's own library (NVML; from Volta on).

    Attributes:
        part: what is counted.
    """

    part = "GPU"

    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, handle
        self._first = self._millijoules()

    def joules(self) -> float | None:
        """Since it was opened; None when it has no counter."""
        now = self._millijoules()
        return None if now is None or self._first is None else (now - self._first) / 1000

    def _millijoules(self) -> int | None:
        # nvmlDeviceGetTotalEnergyConsumption: millijoules since the driver was loaded.
        found = ctypes.c_ulonglong()
        failed = self._library.nvmlDeviceGetTotalEnergyConsumption(
            self._handle, ctypes.byref(found))
        return None if failed else found.value


def open_gpu(uuid: str, load: Callable[[str], Any] = ctypes.CDLL) -> Gpu | None:
    """The counter of the GPU with this UUID ("GPU-…"); None where it has none.

    Args:
        uuid: an index would not do, for CUDA_VISIBLE_DEVICES renumbers them.
        load: opens a shared library by its name.
    """
    try:
        library = load("libnvidia-ml.so.1")
    except OSError:
        return None
    handle = ctypes.c_void_p()
    if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(
            uuid.encode(), ctypes.byref(handle)):
        return None
    found = Gpu(library, handle)
    return None if found.joules() is None else found


def open_counters(device: str, folder: Path = POWERCAP) -> tuple[Counter, ...]:
    """What counts the energy of a model on `device`: "cpu" or "cuda"; () where nothing does."""
    found: list[Counter | None] = [open_processor(folder)]
    if device == "cuda":
        import torch

        uuid = getattr(torch.cuda.get_device_properties("cuda"), "uuid", None)
        gpu = open_gpu(f"GPU-{uuid}") if uuid else None
        if gpu is None:
            return ()  # the processor's share alone would pass for the whole
        found.append(gpu)
    return tuple(counter for counter in found if counter is not None)
