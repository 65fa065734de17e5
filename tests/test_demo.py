"""The demo lays its sample out in folders of its own, and leaves what is a user's alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi3kit import demo
from phi3kit.demo import lay_out, run_demo
from phi3kit.errors import SettingsError
from phi3kit.files import sha256_file

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sample with two documents, in the place of the shipped one."""
    made = tmp_path / "shipped"
    (made / "documents").mkdir(parents=True)
    for name in ("documents/a.md", "documents/b.md", *demo.SAMPLE[1:], "phi3kit.yaml"):
        (made / name).write_text(f"the sample's {name}\n")
    monkeypatch.setattr(demo, "shipped", lambda _: made)
    return made


def held(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_file(path)
            for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(params=["data/train.jsonl", "data/documents/mine.md", "phi3kit.yaml",
                        "runs/finetune-1/run.json", ".phi3kit/prediction.json"])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder in which somebody works, by one file of theirs."""
    folder = tmp_path / "project"
    (folder / request.param).parent.mkdir(parents=True)
    (folder / request.param).write_text("mine\n")
    yield folder


@pytest.mark.parametrize("fresh", [False, True])
def test_a_project_of_somebodys_own_is_left_as_it_is(
        project: Path, sample: Path, fresh: bool) -> None:
    before = held(project)
    with pytest.raises(SettingsError, match=r"which no demo laid out.*Give a new folder"):
        list(run_demo(project, fresh=fresh))
    assert held(project) == before


def test_documents_beside_the_samples_are_somebodys_own(tmp_path: Path, sample: Path) -> None:
    shutil.copytree(sample / "documents", tmp_path / "own/data/documents")
    (tmp_path / "own/data/documents/mine.md").write_text("mine\n")
    with pytest.raises(SettingsError, match="own: holds data"):
        lay_out(tmp_path / "own", fresh=False)


def test_what_it_laid_out_is_brought_up_to_date(tmp_path: Path, sample: Path) -> None:
    folder = tmp_path / "demo"
    lay_out(folder, fresh=False)
    assert (folder / "phi3kit.yaml").is_file()
    times = {path: path.stat().st_mtime_ns for path in (folder / "data").rglob("*.md")}
    (folder / "runs").mkdir()
    (sample / "documents/a.md").unlink()
    (sample / "train.jsonl").write_text("newer\n")
    (folder / "data/documents/mine.md").write_text("mine\n")
    lay_out(folder, fresh=False)
    assert sorted(path.name for path in (folder / "data/documents").iterdir()) == [
        "b.md", "mine.md"]
    assert (folder / "data/train.jsonl").read_text() == "newer\n"
    kept = folder / "data/documents/b.md"
    assert kept.stat().st_mtime_ns == times[kept]
    assert (folder / "runs").is_dir()
    lay_out(folder, fresh=True)
    assert not (folder / "runs").exists()
    assert (folder / "data/documents/mine.md").read_text() == "mine\n"


@pytest.mark.parametrize("fresh", [False, True])
def test_a_file_of_the_sample_that_was_changed_is_kept_and_said(
        tmp_path: Path, sample: Path, fresh: bool, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "demo"
    lay_out(folder, fresh=False)
    assert capsys.readouterr().err == ""
    for name in ("train.jsonl", "documents/a.md"):
        (folder / "data" / name).write_text("mine\n")
    (sample / "documents/a.md").unlink()
    for _ in range(2):
        lay_out(folder, fresh=fresh)
        assert (folder / "data/train.jsonl").read_text() == "mine\n"
        assert (folder / "data/documents/a.md").read_text() == "mine\n"
        assert "kept as changed here: train.jsonl;" in capsys.readouterr().err
    (folder / "data/train.jsonl").unlink()
    lay_out(folder, fresh=fresh)
    assert (folder / "data/train.jsonl").read_text().startswith("the sample's")


def test_a_demo_from_before_there_were_notes_is_known_by_its_data(
        tmp_path: Path, sample: Path) -> None:
    folder = tmp_path / "demo"
    lay_out(folder, fresh=False)
    (folder / ".phi3kit/demo.json").unlink()
    (folder / "runs").mkdir()
    (folder / "data/questions.jsonl").write_text("of another version, or mine\n")
    lay_out(folder, fresh=True)
    assert not (folder / "runs").exists()
    assert (folder / "data/questions.jsonl").read_text() == "of another version, or mine\n"
    assert (folder / ".phi3kit/demo.json").is_file()


def test_an_interrupted_one_goes_on(tmp_path: Path, sample: Path,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    copy, left = shutil.copy2, iter(range(2))

    def stopping(source: Path, target: Path) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        copy(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", stopping)
        with pytest.raises(KeyboardInterrupt):
            lay_out(tmp_path / "demo", fresh=False)
    lay_out(tmp_path / "demo", fresh=False)
    found = held(tmp_path / "demo/data")
    assert found == {name: key for name, key in held(sample).items() if name != "phi3kit.yaml"}


def test_the_shipped_sample_is_laid_out_whole(tmp_path: Path) -> None:
    lay_out(tmp_path / "demo", fresh=False)
    wanted = held(ROOT / "data/documents")
    assert held(tmp_path / "demo/data/documents") == wanted and len(wanted) > 50


def test_without_a_scenario_the_key_is_named(tmp_path: Path) -> None:
    lay_out(tmp_path / "demo", fresh=False)
    (tmp_path / "demo/phi3kit.yaml").write_text("compare:\n  margin: 0.05\n")
    with pytest.raises(SettingsError, match=r"phi3kit\.yaml: advise\.scenario: no scenario.*Set"):
        next(run_demo(tmp_path / "demo"))
