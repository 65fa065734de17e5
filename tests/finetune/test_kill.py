"""kill -9 at any moment: no half checkpoint is left, and the next start goes on to the same end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from phi3kit.finetune import metrics

SCRIPT = Path(__file__).with_name("killable_training.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_moments(project: Path, facts: Path, learner: Path, kills: int) -> None:
    (project / "flags.json").write_text(json.dumps({
        "model.name": str(learner), "model.device": "cpu", "model.dtype": "float32",
        "finetune.dataset": str(facts), "finetune.epochs": 30, "finetune.batch_size": 4,
        "finetune.learning_rate": 1e-3}))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "flags.json", str(kills), "7"], cwd=project, check=False,
        capture_output=True, text=True, timeout=1500, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    left = json.loads(done.stdout)
    assert sum(attempt["killed"] for attempt in left) == kills
    assert not any(attempt["damaged"] for attempt in left)
    assert any(attempt["newest"] for attempt in left)
    [whole], [killed] = (list((project / name).glob("finetune-*[!k]"))
                         for name in ("whole", "killed"))
    assert [m["loss"] for m in metrics.read(killed)] == [m["loss"] for m in metrics.read(whole)]
    weights = "adapter/adapter_model.safetensors"
    assert (killed / weights).read_bytes() == (whole / weights).read_bytes()
    assert {path.name for path in killed.iterdir()} == {"adapter", "metrics.jsonl", "run.json"}
