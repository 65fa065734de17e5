"""Rows that are put down as they are made, where the disk does not take them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from phi3kit.dataset import staged
from phi3kit.dataset.staged import Staged
from phi3kit.errors import DataError


def test_rows_are_found_again_without_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "new" / "s.jsonl.rows"
    Staged(path, {"seed": 0}).append([{"n": 1}])
    with path.open("a") as file:
        file.write('{"n"')
    again = Staged(path, {"seed": 0})
    again.append([{"n": 2}])
    assert Staged(path, {"seed": 0}).rows == again.rows == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("name", ["file/s.jsonl.rows", "folder"])
def test_a_place_that_takes_no_file_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"written \(.*\)\. Name another file with --out") as caught:
        Staged(tmp_path / name, {})
    assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)


def test_a_disk_that_is_full_on_the_way_is_told_too(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Staged(tmp_path / "s.rows", {})
    rows.append([{"n": 1}])

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(staged.os, "fsync", full)
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
            rows.append([{"n": 2}])
    assert rows.rows == [{"n": 1}]
