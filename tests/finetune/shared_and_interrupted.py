"""Under torchrun: a training, the same interrupted and gone on with, and one in bfloat16.

Into the folders whole, halved and low; copy has what the interrupted one left. All in one launch,
for a process takes longer to start than to train the tiny model.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from phi3kit.finetune import metrics
from phi3kit.finetune.processes import launched
from phi3kit.finetune.train import finetune
from phi3kit.records import as_json
from phi3kit.settings import load

append = metrics.append


def interrupting(run: Path, line: dict[str, Any]) -> None:
    append(run, line)
    if line["step"] == 2:
        os.kill(os.getpid(), signal.SIGINT)


def train(runs: str, **changed: Any) -> dict[str, Any]:
    told: dict[str, Any] = as_json(finetune(load({"runs": runs, **changed}).values))
    return told


def main() -> None:
    team = launched()
    reports = [train("whole")]
    metrics.append = interrupting
    try:
        train("halved")
    except KeyboardInterrupt:
        metrics.append = append
    if team.leads:
        shutil.copytree("halved", "copy")
    team.any(False)  # wait for it
    reports += [train("halved"), train(
        "low", **{"model.dtype": "bfloat16", "finetune.checkpointing": True})]
    if team.leads:
        print(json.dumps(reports))


main()
