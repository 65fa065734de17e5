"""The launches that the recipes for several GPUs name, on CPU processes."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(sys.platform == "win32",
                                reason="torchrun's rendezvous needs libuv there")


@pytest.fixture
def ready(project: Path, tiny_phi3: Path) -> Path:
    """A folder with settings and examples."""
    (project / "train.jsonl").write_text("".join(
        json.dumps({"question": f"Number {n}?", "answer": f"{n * n}"}) + "\n" for n in range(8)))
    (project / "phi3kit.yaml").write_text(json.dumps({  # JSON is YAML
        "model": {"name": str(tiny_phi3), "device": "cpu"},
        "finetune": {"dataset": "train.jsonl", "epochs": 1, "batch_size": 4}}))
    return project


def free_port() -> int:
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        return int(at.getsockname()[1])


def test_two_launches_as_on_two_machines(ready: Path) -> None:
    text = (ROOT / "configs" / "phi-3-medium-lora-2-nodes.yaml").read_text(encoding="utf-8")
    command = re.search(r"&& torchrun (.*)$", text, re.MULTILINE)
    assert command
    words = shlex.split(command[1].replace("HOST", "127.0.0.1")
                        .replace("29500", str(free_port()))
                        .replace("--nproc-per-node 8", "--nproc-per-node 1"))
    nodes = []
    for node in ("0", "1"):
        words[words.index("--node-rank") + 1] = node
        nodes.append(subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *words, "--json"], cwd=ready,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    told = [node.communicate(timeout=250) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    assert json.loads(told[0][0])["steps"] == 2
    assert told[1][0] == ""  # the first process alone speaks


@pytest.mark.parametrize("card", [24, 80])
def test_by_shares_full_fine_tuning_takes_the_passes_that_are_told(
    project: Path, card: int,
) -> None:
    from phi3kit.plan.passes import choose_pass
    from phi3kit.plan.shapes import shape_of
    from phi3kit.settings import load

    text = (ROOT / "docs" / "several-gpus.md").read_text(encoding="utf-8")
    recipe = re.search(r"^    model: \{name: phi-3-mini.*?\n\n", text, re.MULTILINE | re.DOTALL)
    assert recipe
    (project / "phi3kit.yaml").write_text(textwrap.dedent(recipe[0]))
    values = load().values
    assert values.finetune.full and values.finetune.shard
    held = choose_pass(values, "full", shape_of("phi-3-mini"), longest=4096, place="gpu",
                       memory=card * 10**9, cards=8, shared=True)
    told = {80: rf"on 80 GB it takes\s+passes of {held.tokens:,} tokens by itself",
            24: rf"on eight 24 GB cards of {held.tokens:,}\."}
    assert held.fits and re.search(told[card], text)


@pytest.mark.slow
def test_accelerate_launches_it_too(ready: Path) -> None:
    text = (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
    command = re.search(r"^    accelerate launch (.*)$", text, re.MULTILINE)
    assert command
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--main_process_port",
         str(free_port()), *shlex.split(command[1]), "--json"],
        cwd=ready, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2  # one report, not two
