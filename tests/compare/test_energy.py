"""Energy counters: which are counted, what a wrap does, and that nothing is made up."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from phi3kit.compare import energy

SPAN = 262_143_328_850


def zone(folder: Path, at: str, name: str, microjoules: int) -> Path:
    path = folder / at
    path.mkdir(parents=True)
    (path / "name").write_text(name + "\n")
    (path / "max_energy_range_uj").write_text(f"{SPAN}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path


def count(path: Path, microjoules: int) -> None:
    (path / "energy_uj").write_text(f"{microjoules}\n")


def test_packages_and_memory_are_counted_and_nothing_twice(tmp_path: Path) -> None:
    zones = [zone(tmp_path, at, name, 1_000_000) for at, name in [
        ("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram"),
        ("intel-rapl:1", "package-1"), ("intel-rapl:2", "psys"),
        ("intel-rapl-mmio:0", "package-0")]]
    found = energy.open_processor(tmp_path)
    assert found is not None
    assert (found.part, found.joules()) == ("processor and memory", 0)
    for number, path in enumerate(zones):
        count(path, 1_000_000 + 10 ** number * 1_000_000)
    assert found.joules() == 1 + 100 + 1000


def test_a_counter_that_begins_again_goes_on(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", SPAN - 3_000_000)
    found = energy.open_processor(tmp_path)
    assert found is not None
    seen = []
    for now in (2_000_000, 7_000_000, SPAN - 1_000_000, 1_000_000):
        count(path, now)
        seen.append(found.joules())
    assert seen == pytest.approx([5, 10, 10 + (SPAN - 8e6) / 1e6, 10 + (SPAN - 8e6) / 1e6 + 2])


@pytest.mark.parametrize("content", [None, "", "busy"])
def test_a_counter_that_is_lost_tells_nothing_more(tmp_path: Path, content: str | None) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 5)
    found = energy.open_processor(tmp_path)
    assert found is not None
    assert found.joules() == 0
    if content is None:
        (path / "energy_uj").unlink()
    else:
        (path / "energy_uj").write_text(content)
    assert found.joules() is None
    count(path, 10)
    assert found.joules() is None


def test_without_counters_there_are_none(tmp_path: Path) -> None:
    assert energy.open_processor(tmp_path / "missing") is None
    path = zone(tmp_path, "intel-rapl:0:0", "dram", 5)
    assert energy.open_processor(tmp_path) is None  # a part would pass for the whole
    (zone(tmp_path, "intel-rapl:0", "package-0", 5) / "energy_uj").unlink()
    assert path.exists()
    assert energy.open_processor(tmp_path) is None
    assert energy.open_counters("cpu", tmp_path) == ()


class Driver:
    """NVML as `energy` calls it; every call returns 0 when it went well."""

    def __init__(self, readings: list[int], *, init: int = 0, handle: int = 0) -> None:
        self._readings, self._init, self._handle = iter(readings), init, handle
        self.asked: list[bytes] = []

    def nvmlInit_v2(self) -> int:
        return self._init

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:
        self.asked.append(uuid)
        return self._handle

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, into: Any) -> int:
        value = next(self._readings)
        if value < 0:
            return 3  # not supported
        ctypes.cast(into, ctypes.POINTER(ctypes.c_ulonglong)).contents.value = value
        return 0


def test_the_gpu_is_counted_by_its_driver() -> None:
    driver = Driver([5_000, 5_000, 7_500])
    found = energy.open_gpu("GPU-1", lambda _: driver)
    assert found is not None
    assert found.joules() == 2.5
    assert driver.asked == [b"GPU-1"]


@pytest.mark.parametrize("driver", [
    Driver([-1, -1]), Driver([1, -1]), Driver([], init=1), Driver([], handle=1)])
def test_a_gpu_without_a_counter_tells_nothing(driver: Driver) -> None:
    assert energy.open_gpu("GPU-1", lambda _: driver) is None


def test_with_a_gpu_the_processor_alone_is_not_the_whole(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    zone(tmp_path, "intel-rapl:0", "package-0", 5)
    monkeypatch.setattr(torch.cuda, "get_device_properties",
                        lambda _: SimpleNamespace(uuid="8d1f"))
    asked: list[str] = []
    monkeypatch.setattr(energy, "open_gpu", asked.append)  # returns None
    assert energy.open_counters("cuda", tmp_path) == ()
    assert asked == ["GPU-8d1f"]
    gpu = energy.Gpu(Driver([1, 2]), None)
    monkeypatch.setattr(energy, "open_gpu", lambda _: gpu)
    assert [c.part for c in energy.open_counters("cuda", tmp_path)] == ["processor", "GPU"]
    assert [c.part for c in energy.open_counters("cpu", tmp_path)] == ["processor"]


def test_without_a_driver_there_is_no_gpu() -> None:
    def missing(name: str) -> Any:
        raise OSError(name)

    assert energy.open_gpu("GPU-1", missing) is None
