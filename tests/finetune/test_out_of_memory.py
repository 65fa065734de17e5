"""A training whose memory ends, by a limit that is real, and what its line says to do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from facts_to_learn import Configure

from phi3kit.errors import OutOfMemoryError
from phi3kit.finetune import answer_trainer, checkpoints, methods
from phi3kit.finetune.smaller import smaller
from phi3kit.finetune.train import finetune
from phi3kit.runs import read_run
from phi3kit.settings import FinetuneSettings, load

LIMITED = Path(__file__).with_name("limited_training.py")


@pytest.mark.skipif(sys.platform != "linux", reason="a limit that the system keeps")
def test_it_is_one_line_and_the_run_goes_on(project: Path, learner: Path) -> None:
    (project / "long.jsonl").write_text("".join(json.dumps(
        {"prompt": f"What does crane {n} lift? {'seal ' * 400}", "completion": f"{n} tonnes"})
        + "\n" for n in range(32)))
    flags = {"model.name": str(learner), "model.device": "cpu", "model.dtype": "float32",
             "finetune.dataset": "long.jsonl", "finetune.epochs": 1, "finetune.batch_size": 8,
             "finetune.max_tokens": 512}
    named = [part for key, value in flags.items()
             for part in (f"--{key.partition('.')[2].replace('_', '-')}", str(value))]
    done = subprocess.run(
        [sys.executable, str(LIMITED), "finetune", "--micro-batch-tokens", "4096",
         *[part.replace("--name", "--model") for part in named]],
        capture_output=True, text=True, env={
            **os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1",
            # What is freed goes back, and no more is set aside than is asked for.
            "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"})
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    [line] = [line for line in done.stderr.splitlines() if line.startswith("phi3kit: ")]
    assert line == done.stderr.splitlines()[-1]
    assert "out of memory training with passes of 4,096 tokens (" in line
    assert "more were asked for" in line and "MiB are free" in line
    assert "Set finetune.micro_batch_tokens to 2048 (4096 now) or" in line
    [run] = Path("runs").iterdir()
    saved = checkpoints.newest(run)
    assert saved is not None
    assert f"the run then goes on from step {checkpoints.step_of(saved)}" in line
    assert read_run(run)["why"] in line
    report = finetune(load({**flags, "finetune.micro_batch_tokens": 2048}).values)
    assert (report.run, report.steps) == (str(Path("runs") / run.name), 4)
    assert methods.is_saved(run)


@pytest.mark.parametrize(("own", "fullest", "told", "untold"), [
    ({}, 1024, "micro_batch_tokens to 512 (1024 now, chosen by the device) or "
               "finetune.checkpointing to true; else try --qlora or", "goes on"),
    ({"micro_batch_tokens": 1024}, 1024, "micro_batch_tokens to 512 (1024 now) or", "chosen"),
    ({"qlora": True}, 1024, "else try a finetune.max_tokens below 400 (1024 now)", "--qlora"),
    ({"full": True}, 1024, "leaving out --full", "--qlora"),
    ({"checkpointing": True}, 400, "Try --qlora", "micro_batch_tokens"),
])
def test_the_way_out_is_that_of_the_settings(
    tmp_path: Path, own: dict[str, object], fullest: int, told: str, untold: str,
) -> None:
    line = smaller(FinetuneSettings(**own), tmp_path,  # type: ignore[arg-type]
                   held=1024, fullest=fullest, longest=400, device="cuda")
    assert told in line and untold not in line
    assert "--qlora" not in smaller(FinetuneSettings(), tmp_path, held=1024, fullest=1024,
                                    longest=400, device="cpu")


@pytest.mark.parametrize("fresh", [False, True])
def test_what_is_saved_is_not_thrown_away_by_the_way_out(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "checkpoints" / "checkpoint-4").mkdir(parents=True)
    (tmp_path / "checkpoints" / "checkpoint-4" / "manifest.json").write_text('{"sha256": {}}')
    line = smaller(FinetuneSettings(), tmp_path, held=1024, fullest=1024, longest=400,
                   device="cpu", fresh=fresh)
    assert f"goes on from step 4{', without --fresh;' if fresh else ';'}" in line


def test_emulated_arithmetic_is_named() -> None:
    line = smaller(FinetuneSettings(qlora=True, checkpointing=True), Path("none"), held=512,
                   fullest=400, longest=400, device="cuda", emulated=True)
    assert "Try model.dtype: auto, for this card emulates bfloat16 or a" in line


def test_a_short_step_is_no_fuller_than_its_rows(configure: Configure,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what may be held would hold them all again."""
    def none(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(answer_trainer, "answer_loss", none)
    with pytest.raises(OutOfMemoryError) as caught:
        finetune(configure(micro_batch_tokens=1_000_000))
    found = re.search(r"passes of (\d+) tokens .* to (\d+) \(1000000 now\)", str(caught.value))
    assert found and int(found[1]) < 1000 and int(found[2]) == int(found[1]) // 2
