"""`phi3kit init` as a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_init_writes_and_never_overwrites(run_cli: Any, tmp_path: Path) -> None:
    assert run_cli("init").returncode == 0
    path = tmp_path / "phi3kit.yaml"
    path.write_text("model:\n  name: mine\n")
    again = run_cli("init")
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert "mine" in path.read_text()
    assert run_cli("init", "--force").returncode == 0
    assert "mine" not in path.read_text()


def test_what_the_user_must_fill_in_stands_on_top(run_cli: Any, tmp_path: Path) -> None:
    run_cli("init")
    head = (tmp_path / "phi3kit.yaml").read_text().split("model:")[0]
    for key in ("ingest.corpus", "finetune.dataset", "compare.questions"):
        assert key in head


def test_a_folder_in_the_way_is_one_line(run_cli: Any, tmp_path: Path) -> None:
    (tmp_path / "phi3kit.yaml").mkdir()
    done = run_cli("init", "--force")
    assert done.returncode == 1
    assert "phi3kit.yaml: cannot be written (Is a directory)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_init_with_a_recipe(run_cli: Any, tmp_path: Path) -> None:
    assert run_cli("init", "--recipe", "phi-3-mini-qlora-8gb").returncode == 0
    assert "name: phi-3-mini" in (tmp_path / "phi3kit.yaml").read_text()


def test_an_unknown_recipe_names_the_nearest(run_cli: Any, tmp_path: Path) -> None:
    done = run_cli("init", "--recipe", "phi-3-mini-qlora-8g")
    assert done.returncode == 2
    assert "Did you mean 'phi-3-mini-qlora-8gb'?" in done.stderr
    assert not (tmp_path / "phi3kit.yaml").exists()


def test_list_names_every_recipe(run_cli: Any) -> None:
    configs = Path(__file__).resolve().parents[2] / "configs"
    listed = run_cli("init", "--list").stdout
    assert all(path.stem in listed for path in configs.glob("*.yaml"))
