"""What is measured while arms answer, and that a run that goes on adds to it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from phi3kit.compare import usage
from phi3kit.compare.usage import USAGE, Measured, Meter, Used, read_usage
from phi3kit.errors import RunError


class Ticks:
    """A counter that counts its readings; None once they are used up."""

    part = "bench"

    def __init__(self, readings: int | None = None) -> None:
        self.count, self._left = 0, readings

    def joules(self) -> float | None:
        self.count += 1
        return None if self._left is not None and self.count > self._left else float(self.count)


def told(n: int) -> None:
    pass


def test_a_peak_between_two_batches_is_seen(tmp_path: Path) -> None:
    with Meter(tmp_path, "cpu").watch("base", told, asked=1) as advance:
        advance(1)
    before = read_usage(tmp_path).arms["base"].memory_bytes
    with Meter(tmp_path, "cpu").watch("rag", told, asked=2) as advance:
        held = bytearray(b"x" * 64 * 2**20)
        time.sleep(0.3)
        del held
        advance(2)
    found = read_usage(tmp_path).arms["rag"]
    assert before is not None and found.memory_bytes is not None
    assert found.memory_bytes > before + 48 * 2**20
    assert found.answers == 2
    assert found.seconds >= 0.3


def test_a_server_tells_neither_memory_nor_energy(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "open_counters", lambda _: pytest.fail("of this machine"))
    with Meter(tmp_path).watch("base", told, asked=3) as advance:
        advance(3)
    found = read_usage(tmp_path).arms["base"]
    assert (found.answers, found.memory_bytes, found.joules) == (3, None, None)


def test_energy_is_counted_until_the_last_batch(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_PACE", 60.0)
    counter = Ticks()
    monkeypatch.setattr(usage, "open_counters", lambda _: (counter,))
    seen: list[int] = []
    with (pytest.raises(KeyboardInterrupt),
          Meter(tmp_path, "cpu").watch("base", seen.append, asked=9) as advance):
        advance(4)
        advance(2)
        counter.joules()
        raise KeyboardInterrupt
    found = read_usage(tmp_path).arms["base"]
    assert (found.answers, found.joules, found.counted) == (6, 2.0, "bench")
    assert seen == [4, 2]


def test_counters_are_read_between_batches(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Ticks()
    monkeypatch.setattr(usage, "open_counters", lambda _: (counter,))
    monkeypatch.setattr(usage, "_PACE", 0.01)
    with Meter(tmp_path, "cpu").watch("base", told, asked=1):
        time.sleep(0.3)
    assert counter.count > 5  # or a wrap would go unseen
    assert read_usage(tmp_path).arms == {}  # and nothing was answered


def test_lost_energy_is_none_and_not_a_part(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_PACE", 60.0)
    monkeypatch.setattr(usage, "open_counters", lambda _: (Ticks(), Ticks(readings=1)))
    with Meter(tmp_path, "cpu").watch("base", told, asked=2) as advance:
        advance(1)
        advance(1)
    found = read_usage(tmp_path).arms["base"]
    assert (found.answers, found.joules, found.counted) == (2, None, "")


def test_a_run_that_goes_on_adds(tmp_path: Path) -> None:
    first, second = Used(4, 2.0, 100, 8.0, "GPU"), Used(1, 1.0, 90, 3.0, "GPU")
    assert first.and_then(second) == Used(5, 3.0, 100, 11.0, "GPU")
    assert first.and_then(Used(1, 1.0)) == Used(5, 3.0, 100, None, "")
    meter = Meter(tmp_path)
    with meter.loading():
        time.sleep(0.02)
    for _ in range(2):
        with meter.watch("base", told, asked=2) as advance:
            advance(2)
    found = read_usage(tmp_path)
    assert found.arms["base"].answers == 4
    assert found.load_seconds is not None and found.load_seconds >= 0.02


class Searching:
    """A search that found nothing yet."""

    searched, seconds = 0, 0.0


def test_what_was_searched_for_and_not_answered_does_not_count(tmp_path: Path) -> None:
    first = Meter(tmp_path)
    first.search = search = Searching()
    with pytest.raises(KeyboardInterrupt), first.watch("rag", told, asked=4) as advance:
        search.searched, search.seconds = 4, 1.0
        advance(1)
        raise KeyboardInterrupt
    again = Meter(tmp_path)
    again.search = search = Searching()
    with again.watch("rag", told, asked=3) as advance:
        search.searched, search.seconds = 3, 0.75
        advance(2)
        advance(1)
    found = read_usage(tmp_path).arms["rag"]
    assert (found.answers, found.searched, found.search_seconds) == (4, 4, 1.0)


def test_loading_that_fails_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(RunError), Meter(tmp_path).loading():
        raise RunError("no model")
    assert read_usage(tmp_path) == Measured()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / USAGE).write_text(json.dumps({"arms": 3}))
    with pytest.raises(RunError, match=r"usage\.json cannot be read"):
        read_usage(tmp_path)
