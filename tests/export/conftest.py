"""Finished runs of a tiny Phi-3, trained on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

FACTS = [(f"Which gate opens at {hour}:30?", f"Gate {letter} of the {place}.")
         for hour, letter, place in ((6, "A", "lock"), (7, "B", "pump"), (8, "C", "crane"),
                                     (9, "D", "winch"), (10, "E", "seal"), (11, "F", "motor"))]


@pytest.fixture(scope="session")
def base(tiny_phi3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Phi-3 with wider embeddings and output layer, so that it can prefer a token."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_phi3)
    model.lm_head.weight.data *= 25
    model.model.embed_tokens.weight.data *= 25
    folder = tmp_path_factory.mktemp("wide")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_phi3).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def train(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Trains on six facts; keyword arguments are keys of `finetune`. Returns the run folder."""
    from phi3kit.finetune.train import finetune
    from phi3kit.settings import load

    root = tmp_path_factory.mktemp("trained")
    data = root / "facts.jsonl"
    data.write_text("".join(json.dumps({"prompt": q, "completion": a}) + "\n" for q, a in FACTS))

    def make(**own: object) -> Path:
        report = finetune(load({
            "model.name": str(base), "model.device": "cpu", "model.dtype": "float32",
            "runs": str(root / "runs"), "finetune.dataset": str(data), "finetune.epochs": 30,
            "finetune.batch_size": 3, "finetune.learning_rate": 1e-2,
            **{f"finetune.{key}": value for key, value in own.items()}}).values)
        return Path(report.run)

    return make


@pytest.fixture(scope="session")
def lora(train: Callable[..., Path]) -> Path:
    """A run with LoRA."""
    return train()
