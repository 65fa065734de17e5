"""Run folders are found again by their inputs, and damaged ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3kit import runs
from phi3kit.errors import RunError


def test_same_inputs_same_folder(tmp_path: Path) -> None:
    first = runs.open_run(tmp_path, "finetune", {"rank": 8}, settings={})
    assert not first.complete
    first.finish({"loss": 1.0})
    again = runs.open_run(tmp_path, "finetune", {"rank": 8}, settings={})
    assert again.path == first.path
    assert again.complete
    assert again.state["result"] == {"loss": 1.0}


def test_other_inputs_other_folder(tmp_path: Path) -> None:
    one = runs.open_run(tmp_path, "finetune", {"rank": 8}, settings={})
    other = runs.open_run(tmp_path, "finetune", {"rank": 16}, settings={})
    assert one.path != other.path


def test_fresh_throws_the_old_one_away(tmp_path: Path) -> None:
    old = runs.open_run(tmp_path, "compare", {}, settings={})
    (old.path / "rows.jsonl").write_text("x")
    old.finish({})
    new = runs.open_run(tmp_path, "compare", {}, settings={}, fresh=True)
    assert not new.complete
    assert not (new.path / "rows.jsonl").exists()


def test_a_run_that_cannot_be_begun_anew_stays(tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    old = runs.open_run(tmp_path, "compare", {}, settings={})
    old.finish({"loss": 1.0})

    def no_room(*args: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_json", no_room)
        with pytest.raises(OSError, match="No space"):
            runs.open_run(tmp_path, "compare", {}, settings={}, fresh=True)
    assert runs.read_run(old.path)["result"] == {"loss": 1.0}
    assert list(tmp_path.iterdir()) == [old.path]


def test_a_kill_while_a_run_is_begun_anew_leaves_one_of_the_two(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = runs.open_run(tmp_path, "compare", {}, settings={})
    old.finish({"loss": 1.0})
    (old.path / "rows.jsonl").write_text("x")
    removed: list[Path] = []

    def look(folder: Path) -> None:  # what a kill in the midst of a removal would leave
        removed.append(folder)
        assert runs.read_run(old.path)["status"] == "running"
        assert (folder / "rows.jsonl").is_file()

    with monkeypatch.context() as patch:
        patch.setattr(runs.shutil, "rmtree", look)
        runs.open_run(tmp_path, "compare", {}, settings={}, fresh=True)
    assert len(removed) == 1
    runs.open_run(tmp_path, "compare", {}, settings={}, fresh=True)  # clears it away
    assert list(tmp_path.iterdir()) == [old.path]


def test_a_failed_run_is_not_complete(tmp_path: Path) -> None:
    run = runs.open_run(tmp_path, "finetune", {}, settings={})
    run.fail("loss is not finite")
    again = runs.open_run(tmp_path, "finetune", {}, settings={})
    assert not again.complete
    assert runs.read_run(run.path)["why"] == "loss is not finite"


def test_a_held_run_is_refused_to_others_and_leaves_no_lock(tmp_path: Path) -> None:
    folder = runs.folder_of(tmp_path / "runs", "finetune", {"rank": 8})
    assert folder == runs.open_run(tmp_path / "runs", "finetune", {"rank": 8}, settings={}).path
    with runs.held(folder, busy="busy", mend="Wait"):
        with pytest.raises(RunError, match=r"finetune-\w+: busy\. Wait"), \
                runs.held(folder, busy="busy", mend="Wait"):
            pass
        assert folder.is_dir()  # and the holder's work stands
    with runs.held(folder, busy="busy", mend="Wait"):
        pass
    assert list((tmp_path / "runs").iterdir()) == [folder]


def test_one_lock_by_whatever_path_a_run_is_named(project: Path) -> None:
    (project / "run").mkdir()
    (project / "alias").symlink_to("run")
    with runs.held(Path("run"), busy="busy", mend=""):
        for name in (project / "run", Path("alias"), Path("run/../run")):
            with pytest.raises(RunError, match="busy"), runs.held(name, busy="busy", mend=""):
                pass
        assert sorted(path.name for path in project.iterdir()) == ["alias", "run", "run.lock"]


def test_a_file_where_the_runs_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    for begin in (lambda: runs.open_run(tmp_path / "runs", "finetune", {}, settings={}),
                  lambda: runs.held(tmp_path / "runs" / "x", busy="b", mend="m").__enter__()):
        with pytest.raises(RunError, match="no run folder can be made here") as caught:
            begin()
        assert "\n" not in str(caught.value) and "Set `runs`" in str(caught.value)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_no_run_folder(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError):
        runs.read_run(tmp_path)


def test_the_record_names_versions_and_machine(tmp_path: Path) -> None:
    state = runs.open_run(tmp_path, "finetune", {}, settings={}).state
    assert state["versions"]["torch"]
    assert state["machine"]["cores"] >= 1
