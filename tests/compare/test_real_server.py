"""Against a server that is not ours: `transformers serve`, which speaks OpenAI's API."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from phi3kit.compare.run import compare
from phi3kit.models.endpoint import EndpointGenerator
from phi3kit.models.generate import open_generator
from phi3kit.settings import ModelSettings, Settings


@pytest.fixture(scope="module")
def served(tiny_phi3: Path) -> Iterator[str]:
    """The URL of a server that has loaded the tiny model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("transformers")), "serve", str(tiny_phi3),
         "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"],
        env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True)
    try:
        _wait(server, f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.communicate()


def _wait(server: subprocess.Popen[str], url: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if server.poll() is not None:
            pytest.fail(f"the server ended: {server.communicate()[1]}")
        try:
            urllib.request.urlopen(url, timeout=5)
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail("the server does not answer")


def remote(settings: Settings, url: str, name: str) -> Settings:
    replace = msgspec.structs.replace
    return replace(settings, model=replace(settings.model, endpoint=url, name=name))


def test_its_answers_are_those_of_the_same_model_here(settings: Settings, tiny_phi3: Path,
                                                      served: str) -> None:
    replace = msgspec.structs.replace
    without = replace(settings, ask=replace(settings.ask, adapter=None),
                      compare=replace(settings.compare, arms=("base", "rag", "oracle-rag")))
    there = compare(remote(without, served, str(tiny_phi3)))
    here = compare(without)
    assert there.run != here.run
    assert not any(row.error for row in there.rows)
    assert [(row.arm, row.question_id, row.output) for row in there.rows] == [
        (row.arm, row.question_id, row.output) for row in here.rows]
    assert len({row.output for row in here.rows}) > 5
    # It counts tokens by the model's own tokenizer.
    assert [row.tokens_in for row in there.rows] == [row.tokens_in for row in here.rows]


def test_it_streams_what_it_answers(tiny_phi3: Path, served: str) -> None:
    prompt = [{"role": "user", "content": "Which seal fits the gate?"}]
    local = open_generator(ModelSettings(name=str(tiny_phi3), device="cpu", dtype="float32"))
    generator = EndpointGenerator(ModelSettings(name=str(tiny_phi3), endpoint=served))
    generator.probe()
    pieces = list(generator.stream(prompt, max_new_tokens=12))
    whole, = generator.generate([prompt], max_new_tokens=12, batch_tokens=64)
    assert len(pieces) > 1
    assert "".join(pieces).strip() == whole.text != ""
    assert whole.tokens_in == local.count_tokens(prompt)
