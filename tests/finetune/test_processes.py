"""Two processes over gloo train what one does; the first alone writes and speaks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from phi3kit.errors import RunError
from phi3kit.finetune.processes import Processes, launched

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def together(project: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "phi3kit", "finetune", *args], cwd=project, capture_output=True, text=True,
        timeout=200, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's rendezvous needs libuv there")
def test_two_processes_give_the_result_of_one(
    project: Path, facts: Path, learner: Path, run_cli: Run,
) -> None:
    (project / "phi3kit.yaml").write_text(json.dumps({  # JSON is YAML
        "model": {"name": str(learner), "dtype": "float32", "device": "cpu"},
        "finetune": {"dataset": str(facts), "epochs": 3, "batch_size": 3,
                     "learning_rate": 1e-3}}))
    one = run_cli("finetune", "--json", cwd=project)
    assert one.returncode == 0, one.stderr
    (project / "runs").rename(project / "alone")
    two = together(project, "--json")
    assert two.returncode == 0, two.stderr
    apart, joint = json.loads(one.stdout), json.loads(two.stdout)  # one report, not two
    assert joint["losses"] == pytest.approx(apart["losses"], abs=1e-5)
    for key in ("run", "tokens", "trained_tokens", "steps"):
        assert joint[key] == apart[key]
    assert two.stderr.count("training (9)") == 1
    run = project / joint["run"]
    assert {path.name for path in run.iterdir()} == {"adapter", "metrics.jsonl", "run.json"}
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 9
    import torch
    from safetensors.torch import load_file

    file = "adapter/adapter_model.safetensors"
    mine, theirs = load_file(run / file), load_file(project / "alone" / run.name / file)
    assert all(torch.allclose(mine[k], theirs[k], atol=1e-5) for k in theirs)
    again = together(project, "--json")
    assert json.loads(again.stdout)["reused"] is True


def test_who_leads_is_told_by_the_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched() == Processes(0, 1) and launched().leads
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launched() == Processes(1, 2) and not launched().leads
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(RunError, match="no numbers"):
        launched()


def test_all_begin_with_the_adapter_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """PiSSA's and LoftQ's starts hang on the processor's rounding, by whole signs."""
    import torch

    leader = [torch.tensor([[1.0, 2.0]]), torch.tensor([3.0])]
    mine = [torch.nn.Parameter(-leader[0]), torch.nn.Parameter(torch.tensor([9.0]), False),
            torch.nn.Parameter(leader[1] + 0.5)]

    def broadcast(flat: torch.Tensor, src: int) -> None:
        assert src == 0
        flat.copy_(torch.cat([tensor.reshape(-1) for tensor in leader]))

    monkeypatch.setattr(torch.distributed, "broadcast", broadcast)
    Processes(1, 2).begin_alike(mine)
    assert [p.tolist() for p in mine] == [[[1.0, 2.0]], [9.0], [3.0]]
    Processes(0, 1).begin_alike([])  # alone there is nobody to tell
