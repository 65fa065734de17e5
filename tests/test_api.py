"""The Python calls give what the commands give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from inspect import isfunction
from pathlib import Path
from typing import Any

import pytest

from phi3kit import api
from phi3kit.errors import DataError, RunError, SettingsError, StoreError

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "tune-phi3"
NOTEBOOK = ROOT / "docs" / "tune-phi3.ipynb"


def test_every_call_is_among_what_the_module_names() -> None:
    own = {name for name, value in vars(api).items() if isfunction(value)
           and value.__module__ == api.__name__ and not name.startswith("_")}
    assert own == set(api.__all__)


def test_settings_take_dotted_keys_and_refuse_unknown_ones(project: Path) -> None:
    (project / "phi3kit.yaml").write_text("finetune: {rank: 4, alpha: 8}\n")
    mine = api.settings({"finetune.rank": 8})
    assert (mine.finetune.rank, mine.finetune.alpha) == (8, 8)
    with pytest.raises(SettingsError, match=r"finetune\.rnk"):
        api.settings({"finetune.rnk": 8})


def test_advice_is_that_of_the_command(project: Path, run_cli: Any) -> None:
    told = run_cli("advise", "--set", "task=qa", "--set", "external_facts=essential", "--json")
    assert json.loads(told.stdout)["recommendation"] == api.advise(
        {"task": "qa", "external_facts": "essential"}).recommendation


def test_the_dataset_room_has_calls_of_its_own(project: Path) -> None:
    (project / "t.jsonl").write_text("".join(
        json.dumps({"question": f"What is {n}?", "answer": "x"}) + "\n" for n in "abcdef"))
    mine = api.settings({"finetune.dataset": "t.jsonl"})
    cut = api.split_dataset(mine, "cut", share=0.5)
    assert (cut.train, cut.held_out) == (3, 3) and Path(cut.files[0]).is_file()
    with pytest.raises(DataError, match="--force"):
        api.split_dataset(mine, "cut")
    for call in (lambda: api.raft_dataset(mine, "r.jsonl"),
                 lambda: api.synth_dataset(mine, "s.jsonl", count=1)):
        with pytest.raises(StoreError):
            call()
    with pytest.raises(RunError, match="not a run folder"):
        api.finetune(api.settings({"finetune.dataset": "t.jsonl"}), resume=project)
    (project / "t.jsonl").open("a").write("{oops\n")
    with pytest.raises(DataError, match="--strict"):
        api.finetune(mine, strict=True)


@pytest.mark.model
def test_documents_go_in_and_passages_come_out(project: Path) -> None:
    (project / "docs").mkdir()
    (project / "docs" / "seals.md").write_text("# Seals\n\nThe K-310 seal is made of Viton.\n")
    mine = api.settings({"ingest.corpus": ("docs",)})
    assert api.ingest(mine).added == ("docs/seals.md",)
    found, none = api.search(["What is the K-310 seal made of?", "Who rules Mongolia?"], mine)
    assert found[0].source == "docs/seals.md"
    assert none == ()


def test_a_plan_is_that_of_the_command(project: Path, run_cli: Any) -> None:
    told = run_cli("plan", "7B", "--gpu", "L4", "--gpus", "2", "--examples", "100", "--price", "2",
                   "--method", "qlora", "--json")
    found = api.plan(api.settings({"model.name": "7B"}), ["qlora"], gpu="L4", gpus=2,
                     examples=100, price=2.0)
    plan = json.loads(told.stdout)
    assert plan["total"] == found.plans[0].total
    assert plan["time"]["cost"] == found.times[0].cost


def test_one_method_may_stand_alone_and_unknown_words_are_refused_by_name(project: Path) -> None:
    mine = api.settings({"model.name": "7B"})
    one = api.plan(mine, "qlora")
    assert [plan.method for plan in one.plans] == ["qlora"]
    unknown: Any = "best"
    for call, said in (
            (lambda: api.plan(mine, unknown), "methods: there is no 'best'.*full, lora, qlora"),
            (lambda: api.plan(mine, ["lora", unknown]), "methods: there is no 'best'"),
            (lambda: api.export("runs/x", mine, to=unknown), "to: there is no 'best'.*merged"),
            (lambda: api.export("runs/x", mine, to="gguf", weights=unknown),
             "weights: there is no 'best'.*q8_0, f16")):
        with pytest.raises(SettingsError, match=said):
            call()


def test_an_export_takes_the_weights_that_are_named(project: Path, tiny_phi3: Path) -> None:
    (project / "train.jsonl").write_text(
        '{"prompt": "Who checks the seal?", "completion": "the lock keeper"}\n' * 2)
    mine = api.settings({"model.name": str(tiny_phi3), "model.device": "cpu",
                         "finetune.dataset": "train.jsonl", "finetune.epochs": 1})
    run = api.finetune(mine)
    report = api.export(run.run, mine, to="gguf", weights="f16")
    assert report.stages[-1].name == "GGUF (f16)"


def test_nothing_heavy_comes_with_the_import() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from phi3kit import api; print(*sys.modules)"],
        capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "chromadb", "numpy"} & set(done.stdout.split())


def test_the_script_tunes_a_phi3(tiny_phi3: Path, tmp_path: Path) -> None:
    """Every step, with Phi-3's own modules and template."""
    data = tmp_path / "train.jsonl"
    data.write_text("".join(json.dumps(
        {"prompt": f"What does crane {n} lift?", "completion": f"{n * 3} tonnes"}) + "\n"
        for n in range(12)))
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PHI3KIT_MODEL": str(tiny_phi3), "PHI3KIT_DATASET": str(data),
             "PHI3KIT_EPOCHS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    assert "lora on down_proj, gate_up_proj, o_proj, qkv_proj" in done.stdout
    assert "⟦" in done.stdout
    assert list(tmp_path.glob("runs/finetune-*/loss.svg"))
    assert list(tmp_path.glob("merged/*.safetensors"))


def test_the_notebook_is_that_script() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    script = SCRIPT.read_text(encoding="utf-8")
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    at = 0
    for source in code:
        at = script.index(source, at)
    assert all(cell["outputs"] for cell in cells
               if cell["cell_type"] == "code" and "print(" in "".join(cell["source"]))


def test_a_price_is_for_examples(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"^price: .*no examples.* Give examples, or set "):
        api.plan(api.settings({"model.name": "7B"}), gpu="L4", price=2.0)


@pytest.mark.parametrize(("field", "call"), [
    ("examples", lambda mine: api.plan(mine, examples=0)),
    ("gpus", lambda mine: api.plan(mine, gpus=0)),
    ("tokens_per_example", lambda mine: api.plan(mine, examples=1, tokens_per_example=0)),
    ("gpu_memory", lambda mine: api.plan(mine, gpu_memory=0)),
    ("price", lambda mine: api.plan(mine, examples=1, gpu_memory=24, price=float("nan"))),
    ("without", lambda mine: api.raft_dataset(mine, "r.jsonl", without=2)),
    ("share", lambda mine: api.split_dataset(mine, "out", share=0)),
    ("count", lambda mine: api.synth_dataset(mine, "s.jsonl", count=0))])
def test_numbers_have_the_bounds_of_the_command_line(project: Path, field: str, call: Any) -> None:
    with pytest.raises(SettingsError, match=f"^{field}: .* is out of bounds. Give "):
        call(api.settings({"model.name": "7B"}))


@pytest.mark.parametrize("asked", [api.ask, api.search])
def test_one_text_is_not_taken_for_questions_of_a_letter(asked: Any) -> None:
    with pytest.raises(TypeError, match=r"write \[question\]"):
        asked("How often is the seal checked?", api.settings())
