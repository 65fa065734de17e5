"""The command line in a process of its own, forked from one that has the libraries already.

Importing torch, transformers and peft takes a core seconds, and hundreds of tests run a command
that does. Python's own forkserver imports them once for all of a worker's tests.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# Not OpenVINO: it is to be imported without its telemetry, which is the command's to see to.
_LIBRARIES = ("phi3kit.cli.app", "torch", "transformers.models.phi3", "transformers.models.llama",
              "peft", "chromadb", "scipy.stats", "phi3kit.finetune.answer_trainer", "datasets")


def available() -> bool:
    """Whether this system forks."""
    return "forkserver" in multiprocessing.get_all_start_methods()


def run(args: Sequence[str], *, cwd: Path, input: str | None, env: Mapping[str, str],
        timeout: float) -> subprocess.CompletedProcess[str]:
    """`phi3kit` with these arguments, as subprocess.run gives it.

    Raises:
        subprocess.TimeoutExpired: it did not end in time, and was killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_LIBRARIES))
    with tempfile.TemporaryDirectory() as name:
        streams = [Path(name, stream) for stream in ("stdin", "stdout", "stderr")]
        for stream in streams:
            stream.write_text(input or "" if stream.name == "stdin" else "", encoding="utf-8")
        process = context.Process(target=_command, args=(
            list(args), str(cwd), dict(env), [str(stream) for stream in streams]))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(args), timeout)
        out, err = (stream.read_text(encoding="utf-8") for stream in streams[1:])
        assert process.exitcode is not None
        return subprocess.CompletedProcess(list(args), process.exitcode, out, err)


def _command(args: list[str], cwd: str, env: dict[str, str], streams: list[str]) -> None:
    gc.freeze()  # what it was forked with is not searched for garbage
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, path in enumerate(streams):
        file = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as it runs
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = ["phi3kit", *args]
    from phi3kit.cli.app import main

    main()
