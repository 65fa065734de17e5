from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from phi3kit import settings
from phi3kit.errors import ModelError
from phi3kit.ingest.embed import open_embedder
from phi3kit.ingest.embed_apart import ApartEmbedder, _Said, _Teller
from phi3kit.ingest.reconcile import embedder_of, ingest
from phi3kit.models.packaged import minilm

TEXTS = ["The K7 pump needs a new seal every 400 hours.", "grease", "A" * 4000, "Schleusenwärter",
         ""]


def apart(name: str = "minilm") -> ApartEmbedder:
    found = embedder_of(settings.load({"ingest.embedder": name, "model.device": "cpu"}).values)
    assert isinstance(found, ApartEmbedder)
    return found


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


@pytest.mark.model
def test_vectors_are_those_of_the_same_embedder_here() -> None:
    here, before = open_embedder("minilm", device="cpu"), children()
    embedder, advanced = apart(), list[int]()
    assert children() == before  # nothing is started for a run that embeds nothing
    assert (embedder.name, embedder.fingerprint, embedder.window) == (
        here.name, here.fingerprint, here.window)
    found = embedder.encode(TEXTS, advance=advanced.append)
    assert found.dtype == np.float32 and sum(advanced) == len(TEXTS)
    assert np.array_equal(found, here.encode(TEXTS))
    assert embedder.encode([]).shape == (0, embedder.dimension) == (0, 384)
    found += 1  # they are the caller's to change
    assert len(children() - before) == 1
    embedder.release()
    embedder.release()
    assert children() == before
    assert embedder.encode(["and again"]).shape == (1, 384)
    embedder.release()


@pytest.mark.model
def test_threads_get_their_own_and_one_that_gives_up_harms_no_other() -> None:
    embedder = apart()
    parts = [[f"bolt {n} of part {at}" * (1 + n % 7) for n in range(40)] for at in range(4)]
    alone = [embedder.encode(part) for part in parts]

    def fail(done: int) -> None:
        raise InterruptedError

    with ThreadPoolExecutor(4) as pool:
        failing = [pool.submit(embedder.encode, part, advance=fail) for part in parts]
        beside = list(pool.map(embedder.encode, parts))
    assert all(isinstance(one.exception(), InterruptedError) for one in failing)
    for one, other in zip(alone, beside, strict=True):
        assert np.array_equal(one, other)
    embedder.release()


@pytest.mark.model
@pytest.mark.timeout(60)
def test_a_process_that_dies_is_one_line_to_all_who_wait() -> None:
    embedder = apart()
    embedder.encode(["warm"])
    many = [f"word {n} " * 200 for n in range(300)]
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(embedder.encode, many) for _ in range(2)]
        time.sleep(0.3)
        assert embedder._apart is not None
        os.kill(embedder._apart._process.pid, signal.SIGKILL)
        for one in waiting:
            with pytest.raises(ModelError, match="minilm: the process that embeds was killed by "
                                                 "SIGKILL, as when memory runs out"):
                one.result()
    with pytest.raises(ModelError, match="killed by SIGKILL"):
        embedder.encode(["x"])
    embedder.release()
    assert embedder.encode(["x"]).shape == (1, 384)
    embedder.release()


@pytest.mark.model
def test_what_is_wrong_with_a_model_is_told_as_here(tmp_path: Path) -> None:
    copy = shutil.copytree(minilm(), tmp_path / "model")
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError) as here:
        open_embedder(str(copy), device="cpu").encode(["x"])
    before = children()
    with pytest.raises(ModelError) as there:
        apart(str(copy)).encode(["x"])
    assert str(there.value) == str(here.value)
    assert children() == before


def test_what_the_process_says_is_whole_lines(tmp_path: Path) -> None:
    said: list[object] = []

    class Teller(_Teller):
        def __call__(self, reply: object) -> None:
            said.append(reply)

    with (tmp_path / "sink").open("wb") as sink:
        tell = Teller(sink)
        print("converting", end="", file=tell, flush=True)
        assert said == []
        print(" the embedder …\nonce", file=tell)
    assert said == [_Said("converting the embedder …"), _Said("once")]
    assert not tell.isatty()


@pytest.mark.model
def test_an_ingest_leaves_no_process_and_imports_neither_openvino_nor_torch(
        tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The seal of the pump is checked every 14 days.\n")
    code = ("import sys\nfrom phi3kit import settings\n"
            "from phi3kit.ingest.reconcile import ingest\n"
            "print(ingest(settings.load({'model.device': 'cpu'}).values, ['a.txt']).chunks, "
            "[m for m in ('torch', 'openvino') if sys.modules.get(m)])")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True,
                          text=True, check=True)
    assert done.stdout.strip() == "1 []"
    before = children()
    wanted = settings.load({"ingest.store": str(tmp_path / "other"), "model.device": "cpu"}).values
    assert ingest(wanted, [str(tmp_path / "a.txt")]).chunks_embedded == 1
    assert children() == before


@pytest.mark.model
def test_it_ends_with_who_started_it(tmp_path: Path) -> None:
    code = ("import sys, time\nfrom phi3kit import settings\n"
            "from phi3kit.ingest.reconcile import embedder_of\n"
            "embedder = embedder_of(settings.load({'model.device': 'cpu'}).values)\n"
            "embedder.encode(['x'])\nprint(embedder._apart._process.pid, flush=True)\n"
            "time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                          cwd=tmp_path) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    assert psutil.wait_procs([child], timeout=10)[0] == [child]
