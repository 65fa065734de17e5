"""A process that trains again and again and kills itself doing so; prints what it left as JSON.

    python killable_training.py SETTINGS.json KILLS SEED

Each attempt is a fork of a process that has only imported, so that an attempt costs no start-up.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    settings_file, kills, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    import datasets  # noqa: F401
    import peft  # noqa: F401
    import torch
    import transformers

    from phi3kit.finetune import checkpoints, train, trainer
    from phi3kit.settings import load

    assert transformers.Trainer
    trainer._SAVES = 30  # nearly always one is under way
    flags = json.loads(Path(settings_file).read_text())
    chance, left = random.Random(seed), []

    def attempt(runs: str) -> int:
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            train.finetune(load({**flags, "runs": runs}).values)
            os._exit(0)
        return child

    began = time.monotonic()
    os.waitpid(attempt("whole"), 0)
    longest = time.monotonic() - began
    while sum(one["killed"] for one in left) < kills:
        child = attempt("killed")
        time.sleep(chance.uniform(0.1, 0.7) * longest)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        saved = list(Path("killed").glob("finetune-*/checkpoints/checkpoint-*"))
        left.append({"killed": os.WIFSIGNALED(status),
                     "damaged": [str(path) for path in saved if checkpoints.damage_of(path)],
                     "newest": max((checkpoints.step_of(path) for path in saved), default=0)})
        if not os.WIFSIGNALED(status):  # it had ended before: from the beginning again
            shutil.rmtree("killed")
    os.waitpid(attempt("killed"), 0)
    print(json.dumps(left))


if __name__ == "__main__":
    main()
