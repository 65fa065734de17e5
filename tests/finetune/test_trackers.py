"""Trackers get what metrics.jsonl gets, or are refused before anything is loaded."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from facts_to_learn import Configure

from phi3kit.errors import SettingsError
from phi3kit.finetune import metrics
from phi3kit.finetune.train import finetune

# What transformers' callback uses of tensorboardX, kept in a file of lines.
WRITER = '''
import json, pathlib
class SummaryWriter:
    def __init__(self, log_dir):
        self.file = pathlib.Path(log_dir) / "events"
        self.file.parent.mkdir(parents=True)
        self.file.touch()
    def add_text(self, *args): pass
    def add_hparams(self, *args, **kwargs): pass
    def flush(self): pass
    def close(self): pass
    def add_scalar(self, key, value, step):
        with self.file.open("a") as out:
            out.write(json.dumps([key, value, step]) + "\\n")
'''


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="it is installed")
def test_each_loss_goes_to_the_tracker(configure: Configure, project: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "site").mkdir()
    (project / "site" / "tensorboardX.py").write_text(WRITER)
    monkeypatch.syspath_prepend(str(project / "site"))
    run = Path(finetune(configure(epochs=2, report_to="tensorboard")).run)
    written = [json.loads(line) for line in (run / "tensorboard" / "events").read_text().split("\n")
               if line]
    losses = [value for key, value, _ in written if key == "train/loss"]
    assert losses == [line["loss"] for line in metrics.read(run)] and len(losses) == 4
    again = finetune(configure(epochs=2))
    assert again.reused  # a tracker is no part of the run


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_one_line(configure: Configure, name: str,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=f"{name} is not installed. Run: pip install {name}"):
        finetune(configure(report_to=name))
    assert not Path("runs").exists()
