"""Every recipe goes through the real parser, and its planned memory is what `plan` says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from phi3kit import project_file, settings
from phi3kit.finetune.ahead import fullest_pass
from phi3kit.plan.memory import plan_memory
from phi3kit.plan.shapes import shape_of

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RECIPES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def planned(recipe: str) -> tuple[float, dict[str, str]]:
    text = (CONFIGS / f"{recipe}.yaml").read_text(encoding="utf-8")
    found = re.search(r"^# Planned: ([\d.]+) GB \(phi3kit plan (.+)\)\.$", text, re.MULTILINE)
    assert found, "a recipe says what is planned, and by which command"
    words = shlex.split(found[2])
    flag = words.pop()
    return float(found[1]), {**dict(zip(words[::2], words[1::2], strict=True)), "flag": flag}


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_parses_and_fits(recipe: str, project: Path) -> None:
    project_file.write(recipe=recipe)
    values = settings.load().values
    gigabytes, flags = planned(recipe)
    tuning = values.finetune
    plan = plan_memory(
        shape_of(values.model.name), "qlora" if tuning.qlora else "lora",
        context=int(flags["--context"]), batch=int(flags["--batch"]), rank=tuning.rank,
        checkpointing=tuning.checkpointing, gpu_memory_gb=float(flags["--gpu-memory"]))
    assert flags["flag"] == f"--{'' if tuning.checkpointing else 'no-'}checkpointing"
    assert tuning.checkpointing == (values.model.name != "smollm2-135m")
    assert plan.fits
    assert round(plan.total / 1e9, 1) == gigabytes
    assert flags["--method"] == plan.method
    assert flags["--model"] == values.model.name
    assert int(flags["--rank"]) == tuning.rank
    assert tuning.alpha == 2 * tuning.rank
    assert values.model.name == "smollm2-135m" or tuning.max_tokens == int(flags["--context"])
    assert tuning.micro_batch_tokens == int(flags["--context"]) * int(flags["--batch"])
    if "phi" in values.model.name:  # so `phi3kit plan` beside the recipe says the same
        step = int(flags["--context"]), int(flags["--batch"])
        assert fullest_pass(tuning, tuning.micro_batch_tokens, "gpu") == step


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_is_a_document(recipe: str) -> None:
    lines = (CONFIGS / f"{recipe}.yaml").read_text(encoding="utf-8").splitlines()
    command = re.fullmatch(rf"#   phi3kit init --recipe {recipe} && (torchrun .* -m )?"
                           "phi3kit finetune", lines[2])
    assert command, "the exact command stands on top"
    # Recipes for several GPUs are named after them.
    assert bool(command[1]) == bool(re.search(r"-\dx\d|-nodes$", recipe))
    assert any(line.startswith("# Minutes: ") for line in lines)


def test_the_table_names_every_recipe_with_its_plan() -> None:
    table = (CONFIGS / "README.md").read_text(encoding="utf-8")
    for recipe in RECIPES:
        row = next(line for line in table.splitlines() if line.startswith(f"| [{recipe}]"))
        assert f" {planned(recipe)[0]:.1f} " in row


def test_no_recipe_for_lora_on_8_gb_because_it_does_not_fit() -> None:
    plan = plan_memory(shape_of("phi-3-mini"), "lora", context=512, batch=1, rank=8,
                       checkpointing=True, gpu_memory_gb=8)
    assert plan.fits is False
    assert f"{plan.total / 1e9:.1f} GB" in (CONFIGS / "README.md").read_text(encoding="utf-8")


def test_the_default_file_parses_to_the_defaults(project: Path) -> None:
    project_file.write()
    resolved = settings.load()
    assert resolved.values == settings.Settings()
    assert set(resolved.sources.values()) == {"default"}


def test_the_default_file_with_every_key_uncommented_parses(project: Path) -> None:
    text = re.sub(r"^( *)# (?=\w+:)", r"\1", project_file.default_text(), flags=re.MULTILINE)
    Path("phi3kit.yaml").write_text(text, encoding="utf-8")
    resolved = settings.load()
    assert resolved.values == settings.Settings()
    assert set(resolved.sources.values()) == {"file"}
    assert set(settings.flatten(yaml.safe_load(text))) == set(settings.keys())
