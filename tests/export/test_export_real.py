"""A real model with a short real training, through every target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phi3kit.export.run import export
from phi3kit.finetune.train import finetune
from phi3kit.settings import load

# Trains, and merges and loads a model three times: a minute on two idle cores.
pytestmark = [pytest.mark.model, pytest.mark.slow]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("smollm2")
    data = root / "train.jsonl"
    data.write_text("".join(json.dumps({
        "prompt": f"Depot {i} in {city}: which gate opens?",
        "completion": f"Gate {city[0]} of the {city} depot."}) + "\n"
        for i, city in enumerate(["Oslo", "Bern", "Lima", "Rome", "Cairo", "Quito"] * 2)))
    return Path(finetune(load({
        "runs": str(root / "runs"), "finetune.dataset": str(data), "finetune.epochs": 4,
        "finetune.rank": 8, "finetune.learning_rate": 1e-3}).values).run)


def test_a_small_real_model_survives_the_way_out(run: Path, tmp_path: Path) -> None:
    settings = load({}).values
    for target in ("merged", "ollama", "vllm"):
        report = export(settings, run, to=target, out=tmp_path / target)
        first, last = report.stages[0], report.stages[-1]
        assert first.loss < 1.5
        assert last.loss == pytest.approx(first.loss, abs=0.02)
        assert last.same_tokens is not None and last.same_tokens > 0.9
        assert report.out == str(tmp_path / target)
    text = (tmp_path / "ollama" / "Modelfile").read_text()
    assert 'TEMPLATE """<|im_start|>system\n{{ .System }}<|im_end|>' in text
    assert 'PARAMETER stop "<|im_end|>"' in text
