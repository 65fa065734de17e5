"""Several adapters of one training: each answers, and the run is found, resumed and refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters_of_tests import make_adapter
from phi3kit.compare import run as room
from phi3kit.compare.results import ROWS
from phi3kit.compare.run import compare, load_comparison
from phi3kit.compare.task import inputs, prepare
from phi3kit.errors import SettingsError
from phi3kit.files import sha256_file
from phi3kit.report.markdown import comparison_markdown
from phi3kit.settings import Settings, load

MADE = {"phi3kit": "1", "dataset": "d1", "examples": 4, "base": "b1", "dtype": "float32",
        "device": "cpu", "instruction": "Answer."}


def trained(tiny_phi3: Path, folder: Path, seed: int, **made: Any) -> Path:
    make_adapter(tiny_phi3, folder / "adapter", seed=seed)
    told(folder, seed, **made)
    return folder


def told(folder: Path, seed: int, *, epochs: float = 3.0, **made: Any) -> None:
    (folder / "run.json").write_text(json.dumps({
        "kind": "finetune", "status": "complete", "settings": {}, "result": {"seconds": 60.0},
        "inputs": {**MADE, **made, "finetune": {"epochs": epochs, "seed": seed}}}))


@pytest.fixture(scope="module")
def trainings(tiny_phi3: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("trainings")
    return [trained(tiny_phi3, root / f"finetune-{seed}", seed) for seed in (3, 4)]


def having(settings: Settings, adapters: list[Path], **compare: Any) -> Settings:
    first, *more = map(str, adapters)
    return msgspec.structs.replace(
        settings, ask=msgspec.structs.replace(settings.ask, adapter=first),
        compare=msgspec.structs.replace(settings.compare, more_adapters=tuple(more), **compare))


@pytest.fixture
def seeded(settings: Settings, trainings: list[Path]) -> Settings:
    return having(settings, trainings)


def test_every_adapter_answers_every_question(seeded: Settings, trainings: list[Path],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    found = compare(seeded)
    rows = [json.loads(line) for line in (Path(found.run) / ROWS).read_text().splitlines()]
    assert Counter((row["arm"], row["seed"]) for row in rows) == {
        ("base", 0): 5, ("rag", 0): 5, **{(arm, seed): 5 for arm in ("finetune", "both")
                                          for seed in (0, 1)}}
    said = {(row["arm"], row["seed"], row["question_id"]): row["output"] for row in rows}
    assert any(said["finetune", 0, q] != said["finetune", 1, q] for q in ("w1", "w2", "c1"))
    hashes = tuple(sha256_file(run / "adapter/adapter_model.safetensors") for run in trainings)
    assert [(each.arm, each.adapters) for each in found.seeds] == [
        ("finetune", hashes), ("both", hashes)]
    assert len(found.rows) == 20
    assert "finetune: " in comparison_markdown(found)
    assert "over 2 training seeds" in comparison_markdown(found)
    again = load_comparison(Path(found.run))
    assert (again.seeds, again.rows, again.differences) == (
        found.seeds, found.rows, found.differences)

    # One adapter's answers are lost, as by an interruption: they alone are asked for again.
    kept = [line for line, row in zip((Path(found.run) / ROWS).read_text().splitlines(True), rows,
                                      strict=True) if (row["arm"], row["seed"]) != ("both", 1)]
    (Path(found.run) / ROWS).write_text("".join(kept))
    resumed = compare(seeded)
    assert (resumed.run, resumed.reused_rows) == (found.run, 25)
    assert resumed.differences == found.differences
    monkeypatch.setattr(room, "_open", lambda _: pytest.fail("a model was loaded"))
    assert compare(seeded).reused_rows == 30


def test_one_adapter_is_the_run_that_it_always_was(settings: Settings, seeded: Settings,
                                                   trainings: list[Path]) -> None:
    first, second = (sha256_file(run / "adapter/adapter_model.safetensors") for run in trainings)
    alone, both = inputs(prepare(having(settings, trainings[:1]))), inputs(prepare(seeded))
    assert alone["adapter"] == first
    assert both == {**alone, "more_adapter": [second]}


@pytest.mark.parametrize(("made", "said"), [
    ({"epochs": 5.0}, r"finetune\.epochs is 5\.0 and not 3\.0"),
    ({"dataset": "d2"}, "the dataset has another content"),
    ({"base": "b2"}, "the base has another content"),
    ({"instruction": "Say."}, "instruction is 'Say.' and not 'Answer.'"),
    ({"index": "i1"}, "the collection has another content"),
])
def test_what_differs_in_more_than_the_seed_is_refused(
        settings: Settings, trainings: list[Path], tmp_path: Path, made: dict[str, Any],
        said: str) -> None:
    other = tmp_path / "other"
    shutil.copytree(trainings[1], other)
    told(other, 4, **made)
    with pytest.raises(SettingsError, match=rf"more_adapters.*in more than the seed: {said}"):
        prepare(having(settings, [trainings[0], other]))


def test_the_same_adapter_or_the_same_seed_twice_is_refused(
        settings: Settings, trainings: list[Path], tmp_path: Path) -> None:
    first, second = trainings
    with pytest.raises(SettingsError, match="given twice"):
        prepare(having(settings, [first, second, first]))
    copied = tmp_path / "copied"
    shutil.copytree(second, copied)
    with pytest.raises(SettingsError, match="given twice, or the same weights"):
        prepare(having(settings, [first, second, copied]))
    told(copied, 3)
    with pytest.raises(SettingsError, match="trained with the same seed, 3"):
        prepare(having(settings, [first, copied]))
    (copied / "run.json").unlink()
    with pytest.raises(SettingsError, match=r"how .* was trained is not known"):
        prepare(having(settings, [first, copied]))


def test_lists_that_share_an_adapter_are_refused(settings: Settings,
                                                 trainings: list[Path]) -> None:
    first, second = trainings
    with pytest.raises(SettingsError, match="stands in both lists"):
        prepare(having(settings, [first, second], adapter_rag=str(second)))
    with pytest.raises(SettingsError, match="no first one"):
        prepare(having(settings, [first], more_adapters_rag=(str(second),)))


def test_flags_name_all_of_them(project: Path, run_cli: Any) -> None:
    (project / "phi3kit.yaml").write_text("compare: {more_adapters: [runs/old]}\n")
    assert load().values.compare.more_adapters == ("runs/old",)
    told_of = run_cli("compare", "--adapter", "runs/a", "--adapter", "runs/b", "--dry-run").stdout
    assert "runs/b" in told_of
    assert "runs/old" not in told_of
    assert "runs/old" not in run_cli("compare", "--adapter", "runs/a", "--dry-run").stdout
