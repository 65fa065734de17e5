"""A disk that is full while a checkpoint or the result is written: one line, nothing lost."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from facts_to_learn import Configure

from phi3kit.errors import RunError
from phi3kit.finetune import checkpoints, methods
from phi3kit.finetune.train import finetune
from phi3kit.models import adapters

FULL = Path("/dev/full")  # every write fails: no space left on device
LINKED = ("adapter_config.json", "optimizer.pt", "scheduler.pt", "rng_state.pth",
          "trainer_state.json", "training_args.bin")
# Written under another name first, so that no link can stand in their way.
RENAMED = ("adapter_model.safetensors", checkpoints.MANIFEST)
NO_ROOM = "No space left on device|as on a full disk"


def weights(run: str | Path) -> bytes:
    return (Path(run) / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.fixture
def whole(configure: Configure, tmp_path: Path) -> bytes:
    """The adapter of a run that nothing disturbed; its run folder is gone again."""
    run = Path(finetune(configure()).run)
    found = weights(run)
    shutil.rmtree(run)
    return found


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", [*LINKED, *RENAMED])
def test_at_each_file_of_a_save(configure: Configure, monkeypatch: pytest.MonkeyPatch,
                                whole: bytes, name: str) -> None:
    import peft.peft_model
    from safetensors import SafetensorError

    make, saves = checkpoints.tempfile.mkdtemp, 0

    def with_a_full_place(*args: Any, **kwargs: Any) -> str:
        nonlocal saves
        folder = Path(make(*args, **kwargs))
        saves += 1
        if saves == 3 and name in LINKED:  # after steps 2 and 4
            (folder / "checkpoint-6").mkdir()
            (folder / "checkpoint-6" / name).symlink_to(FULL)
        return str(folder)

    def third_time(works: Any, error: Exception) -> Any:
        def work(*args: Any, **kwargs: Any) -> None:
            if saves == 3:
                raise error
            works(*args, **kwargs)
        return work

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.tempfile, "mkdtemp", with_a_full_place)
        if name == checkpoints.MANIFEST:
            patch.setattr(checkpoints, "write_json", third_time(
                checkpoints.write_json, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        elif name in RENAMED:
            patch.setattr(peft.peft_model, "safe_save_file", third_time(
                peft.peft_model.safe_save_file,
                SafetensorError("I/O error: No space left on device (os error 28)")))
        with pytest.raises(RunError, match=NO_ROOM) as caught:
            finetune(configure())
    assert "\n" not in str(caught.value) and "the checkpoint cannot be saved" in str(caught.value)
    [run] = [path for path in Path("runs").glob("finetune-*") if path.is_dir()]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        "checkpoint-2", "checkpoint-4"]
    assert checkpoints.damage_of(run / "checkpoints" / "checkpoint-4") is None
    report = finetune(configure())
    assert report.steps == 10 and weights(report.run) == whole


def test_at_the_adapter_itself(configure: Configure, monkeypatch: pytest.MonkeyPatch,
                               whole: bytes) -> None:
    def no_room(path: Path, value: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(adapters, "write_json", no_room)
        with pytest.raises(RunError, match=r"what was trained cannot be saved .*No space left"):
            finetune(configure())
    [run] = [path for path in Path("runs").glob("finetune-*") if path.is_dir()]
    assert not methods.is_saved(run)
    assert {path.name for path in run.iterdir()} == {"checkpoints", "metrics.jsonl", "run.json"}
    report = finetune(configure())
    assert weights(report.run) == whole


def test_before_anything_is_written(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    from phi3kit import runs

    def no_room(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/x")

    monkeypatch.setattr(runs, "write_json", no_room)
    with pytest.raises(RunError, match=r"runs/x: the disk is full\. Make room"):
        finetune(configure())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MiB; only root may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.name == "nt" or os.geteuid() != 0 or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=False,
            capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_on_a_disk_that_is_really_full(configure: Configure, small_disk: Path,
                                       whole: bytes) -> None:
    """Less and less room, so that it ends within one file or another of a save."""
    settings = msgspec.structs.replace(configure(), runs=str(small_disk / "runs"))
    filler, stopped, left_behind = small_disk / "filler", set(), []
    for left in range(40_000, 700_000, 60_000):
        shutil.rmtree(small_disk / "runs", ignore_errors=True)
        free = shutil.disk_usage(small_disk).free
        filler.write_bytes(b"x" * (free - left))
        try:
            finetune(settings)
        except RunError as error:
            assert "\n" not in str(error)
            assert re.search(f"{NO_ROOM}|the disk is full", str(error))
            stopped.add(left)
        [run] = [path for path in (small_disk / "runs").glob("finetune-*") if path.is_dir()]
        left_behind += (saved := [*run.glob("checkpoints/checkpoint-*")])
        assert all(checkpoints.damage_of(path) is None for path in saved)
        filler.unlink()
        assert weights(finetune(settings).run) == whole
    assert len(stopped) > 2 and left_behind
