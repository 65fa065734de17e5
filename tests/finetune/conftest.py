"""A tiny Phi-3 that can learn, and examples for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from facts_to_learn import FACTS, Configure

from phi3kit.settings import Settings, load


@pytest.fixture(scope="session")
def learner(tiny_phi3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Phi-3 with a wider output layer.

    A fresh one is initialised so narrow that no hidden state can make any token likely, and
    an adapter does not reach the output layer.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_phi3)
    model.lm_head.weight.data *= 25
    model.model.embed_tokens.weight.data *= 25
    folder = tmp_path_factory.mktemp("learner")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_phi3).save_pretrained(folder)
    return folder


@pytest.fixture
def facts(project: Path) -> Path:
    """Eight examples that no model can know."""
    path = project / "facts.jsonl"
    path.write_text("".join(json.dumps({"prompt": q, "completion": a}) + "\n" for q, a in FACTS))
    return path


@pytest.fixture
def configure(project: Path, facts: Path, learner: Path) -> Configure:
    """Settings for a small run on the facts; keyword arguments are keys of `finetune`."""

    def make(**own: object) -> Settings:
        flags: dict[str, object] = {
            "model.name": str(learner), "model.device": "cpu", "model.dtype": "float32",
            "finetune.dataset": str(facts), "finetune.epochs": 5, "finetune.batch_size": 4,
            "finetune.learning_rate": 1e-2}
        flags |= {f"finetune.{key}" if "__" not in key else key.replace("__", "."): value
                  for key, value in own.items()}
        return load(flags).values

    return make


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A training as on one core: a step is not computed side by side, nor a sum taken apart."""
    import torch

    cores = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # else training takes all that there are
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(cores)
