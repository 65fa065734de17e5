"""A base that is shared out over two processes trains what one process does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from phi3kit.dataset.encode import IGNORED
from phi3kit.finetune.processes import Processes
from phi3kit.finetune.train import finetune
from phi3kit.settings import load

WAYS: dict[str, dict[str, Any]] = {
    "loftq-checkpointing": {"qlora": True, "init": "loftq", "checkpointing": True},
    "qdora": {"qlora": True, "dora": True},  # peft's and bitsandbytes' own forward
}


def train_alone(project: Path, facts: Path, learner: Path, **own: Any) -> Any:
    """The report of one process, whose run folder is moved to alone/."""
    (project / "phi3kit.yaml").write_text(json.dumps({  # JSON is YAML
        "model": {"name": str(learner), "dtype": "float32", "device": "cpu"},
        # Micro-batches of one row each: three in a step for two processes.
        "finetune": {"dataset": str(facts), "epochs": 3, "batch_size": 3,
                     "micro_batch_tokens": 16, "learning_rate": 1e-3, **own}}))
    report = finetune(load({}).values)
    (project / "runs").rename(project / "alone")
    return report


def train_shared(project: Path, *program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         *program, "finetune", "--shard", "--json"], cwd=project, capture_output=True,
        text=True, timeout=200, check=False)


def same_result(project: Path, alone: Any, shared: subprocess.CompletedProcess[str]) -> None:
    from safetensors.torch import load_file

    assert shared.returncode == 0, shared.stderr
    assert "2 layers shared out over 2 processes" in shared.stderr
    joint = json.loads(shared.stdout)
    assert joint["losses"] == pytest.approx(alone.losses, abs=1e-5)
    for key in ("run", "tokens", "trained_tokens", "steps", "trainable_parameters"):
        assert joint[key] == getattr(alone, key)
    file = f"{Path(alone.run).name}/adapter/adapter_model.safetensors"
    theirs, mine = load_file(project / "alone" / file), load_file(project / "runs" / file)
    assert mine.keys() == theirs.keys()
    assert all(mine[k].shape == theirs[k].shape and torch.allclose(mine[k], theirs[k], atol=1e-5)
               for k in theirs)


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's rendezvous needs libuv there")
# As many cores as torchrun gives each process: LoftQ's factors are a decomposition's, whose signs
# and order hang on the rounding of its sums, even where their product does not.
@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("way", WAYS)
def test_a_shared_base_gives_the_result_of_one_process(
    project: Path, facts: Path, learner: Path, way: str,
) -> None:
    alone = train_alone(project, facts, learner, **WAYS[way])
    same_result(project, alone, train_shared(project, "-m", "phi3kit"))


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's rendezvous needs libuv there")
def test_it_goes_on_from_its_own_checkpoint_and_so_does_one_process(
    project: Path, facts: Path, learner: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    from phi3kit.models.generate import open_generator

    alone = train_alone(project, facts, learner)
    killed = train_shared(project, str(Path(__file__).with_name("killed_after_checkpoint.py")))
    assert killed.returncode != 0 and killed.stdout == ""
    shutil.copytree(project / "runs", project / "copy")
    again = train_shared(project, "-m", "phi3kit")
    assert re.search(r"going on from step 4 ", again.stderr), again.stderr
    same_result(project, alone, again)
    unsharded = finetune(load({"runs": "copy"}).values)
    assert "going on from step 4 " in capsys.readouterr().err
    assert unsharded.losses == pytest.approx(alone.losses, abs=1e-5)
    open_generator(load({}).values.model, adapter=project / alone.run)


def test_every_process_gets_as_many_micro_batches() -> None:
    micro = [{"input_ids": torch.full((2, 3), n), "labels": torch.full((2, 3), n)}
             for n in range(3)]
    first, second = (Processes(rank, 2).share(micro, even=True) for rank in (0, 1))
    assert first == micro[::2] and second[0] is micro[1] and len(second) == 2
    assert second[1]["input_ids"].shape == (1, 1)
    assert second[1]["labels"].tolist() == [[IGNORED]]
    assert len(Processes(1, 2).share(micro, even=False)) == 1
    assert int(micro[0]["labels"].sum()) == 0  # the padding is a copy
