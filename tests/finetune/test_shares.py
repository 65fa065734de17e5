"""A whole model that two processes train by shares is the one that one process trains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from phi3kit.errors import SettingsError
from phi3kit.finetune import sharding, shares
from phi3kit.finetune.preview import preview
from phi3kit.finetune.train import finetune
from phi3kit.settings import load


@pytest.fixture
def tied(tiny_phi3: Path, project: Path, facts: Path) -> None:
    """Settings for a model whose embeddings are its output layer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_phi3)
    model.config.tie_word_embeddings = True
    model.lm_head.weight = model.model.embed_tokens.weight
    model.save_pretrained("tied")
    AutoTokenizer.from_pretrained(tiny_phi3).save_pretrained("tied")
    (project / "phi3kit.yaml").write_text(json.dumps({  # JSON is YAML
        "model": {"name": "tied", "dtype": "float32", "device": "cpu"},
        # Micro-batches of one row each: three in a step for two processes.
        "finetune": {"dataset": str(facts), "epochs": 2, "batch_size": 3, "full": True,
                     "shard": True, "micro_batch_tokens": 16, "learning_rate": 1e-3}}))


def weights_of(run: str) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(Path(run) / "model" / "model.safetensors"))


def files_of(run: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (Path(run) / "model").iterdir()}


def off(found: dict[str, Any], wanted: dict[str, Any]) -> float:
    assert found.keys() == wanted.keys()
    return max(float((found[name] - wanted[name]).abs().max()) for name in wanted)


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's rendezvous needs libuv there")
def test_shares_train_what_one_process_trains_and_go_on_to_the_last_bit(
    tied: None, capsys: pytest.CaptureFixture[str],
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(Path(__file__).with_name("shared_and_interrupted.py"))], capture_output=True,
        text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("2 layers shared out over 2 processes, with their gradients") == 4
    assert "going on from step 3 (halved/" in done.stderr
    whole, halved, low = json.loads(done.stdout)

    alone = finetune(load({"runs": "alone"}).values)
    assert whole["losses"] == pytest.approx(alone.losses, abs=1e-5)
    for key in ("tokens", "trained_tokens", "steps", "trainable_parameters", "method"):
        assert whole[key] == getattr(alone, key)
    assert off(weights_of(whole["run"]), weights_of(alone.run)) < 1e-5
    apart, joint = files_of(alone.run), files_of(whole["run"])
    assert {k: v for k, v in apart.items() if k != "model.safetensors"} == {
        k: v for k, v in joint.items() if k != "model.safetensors"}

    assert halved["losses"] == whole["losses"]
    assert files_of(halved["run"])["model.safetensors"] == joint["model.safetensors"]
    capsys.readouterr()
    gone_on = finetune(load({"runs": "copy"}).values)  # by one process, of what two had saved
    assert "going on from step 3 (copy/" in capsys.readouterr().err
    assert gone_on.losses == pytest.approx(alone.losses, abs=1e-5)
    assert off(weights_of(gone_on.run), weights_of(alone.run)) < 1e-5

    lower = finetune(load({"runs": "lower", "model.dtype": "bfloat16",
                           "finetune.checkpointing": True}).values)
    assert lower.losses[0] != alone.losses[0]
    assert low["losses"][0] == pytest.approx(lower.losses[0], abs=1e-6)
    assert low["losses"] == pytest.approx(lower.losses, abs=1e-3)


def test_layers_are_gathered_in_the_type_that_they_compute_in() -> None:
    import torch

    def of(dtype: str, device: str, *layers: Any) -> Any:
        loaded: Any = SimpleNamespace(dtype=dtype)
        return shares._gathered_in(loaded, layers, device)

    plain = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.RMSNorm(2))
    normed = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):  # why
        plain.bfloat16()(torch.ones(1, 2))
        with pytest.raises(RuntimeError, match="mixed dtype"):
            normed[1].bfloat16()(torch.ones(1, 2))
    assert of("bfloat16", "cpu", plain) is of("bfloat16", "cuda", normed) is torch.bfloat16
    assert of("float32", "cpu", plain) is of("bfloat16", "cpu", plain, normed) is None


def test_float16_is_refused_with_the_reason(project: Path, facts: Path) -> None:
    asked = {"finetune.dataset": str(facts), "finetune.full": True, "finetune.shard": True,
             "model.dtype": "float16", "model.device": "cpu"}
    with pytest.raises(SettingsError, match=r"model\.dtype: not float16 .*loss scale") as caught:
        finetune(load(asked).values)
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()
    assert "loss scale" in preview(load(asked).values).model.problems[-1]  # --dry-run says so too
    sharding.refuse_unshardable(load({**asked, "model.dtype": "auto"}).values)
    sharding.refuse_unshardable(load({**asked, "finetune.full": False}).values)
