"""Through Ray the collection becomes the same as without: a real Ray on this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from phi3kit import settings
from phi3kit.errors import SettingsError, StoreError
from phi3kit.ingest import engine, ray_engine, reconcile
from phi3kit.ingest.store import open_store

pytest.importorskip("ray", reason="Ray is not installed: pip install 'phi3kit[ray]'")
pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def ray():
    """One Ray for all tests; the engine uses what its process has."""
    with ray_engine._cluster():
        yield


@pytest.fixture
def corpus(project):
    """Several formats, equal texts in two files, a broken file and a pipe."""
    docs = project / "docs"
    (docs / "sub").mkdir(parents=True)
    (docs / "pumps.md").write_text(
        "# Pumps\n\nAll about pumps.\n\n## Seals\n\nThe shaft seal of the K7 is replaced every "
        "400 hours.\n\n## Grease\n\nUse marine grease number four.\n")
    (docs / "page.html").write_text("<html><body><h1>Locks</h1><p>The north lock is drained in "
                                    "March, when the river is low.</p></body></html>")
    (docs / "rows.csv").write_text("part,hours\nseal,400\nbearing,9000\nseal,400\n")
    (docs / "rows.jsonl").write_text('{"part": "valve", "hours": 70}\nnot json\n')
    (docs / "gates.txt").write_text("The north gate is checked by the lock keeper.\n")
    shutil.copy(docs / "gates.txt", docs / "sub" / "gates.txt")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    (docs / "packed.docx").write_bytes(b"PK\x03\x04 not an archive")
    os.mkfifo(docs / "pipe.txt")
    for number in range(20):
        (docs / "sub" / f"{number}.md").write_text(
            f"# Crane {number % 7}\n\nIt lifts {number} tonnes at {number * 3} metres.\n")
    return docs


def run(kind, **more):
    resolved = settings.load({"ingest.engine": kind, "ingest.store": f"store-{kind}", **more})
    return reconcile.ingest(resolved.values, ["docs"])


def rows(kind):
    """Every row by ID, with its places and vector."""
    store = open_store(Path(f"store-{kind}"), "documents")
    found = {row.id: (row, vector) for page, vectors in store.with_vectors()
             for row, vector in zip(page, vectors, strict=True)}
    store.close()
    return found


def told(report):
    """What a report says of the collection."""
    return {name: getattr(report, name) for name in (
        "added", "changed", "deleted", "failed", "unchanged", "chunks", "chunks_embedded",
        "chunks_deleted", "tokens", "verified")}


def require_equal():
    local, other = rows("local"), rows("ray")
    assert {id_: row for id_, (row, _) in other.items()} == {
        id_: row for id_, (row, _) in local.items()}
    # Other batches round otherwise; in bfloat16 to three digits.
    assert min(float(np.dot(local[id_][1], other[id_][1])) for id_ in local) > 0.999


def test_the_same_as_locally_first_edited_and_again(ray, corpus, monkeypatch):
    assert told(run("ray")) == told(first := run("local"))
    assert {Path(failure.where.partition(",")[0]).name for failure in first.failed} == {
        "broken.pdf", "packed.docx", "pipe.txt", "rows.jsonl"}
    assert first.chunks_embedded == first.chunks < sum(
        len(row.places) for row, _ in rows("ray").values())
    require_equal()

    (corpus / "gates.txt").write_text("The north gate is checked twice.\n")
    (corpus / "sub" / "3.md").unlink()
    (corpus / "sub" / "4.md").rename(corpus / "moved.md")
    (corpus / "sub" / "new.md").write_text("# Crane 5\n\nIt lifts 5 tonnes at 15 metres.\n\n"
                                           "# Boats\n\nThe ferry leaves at noon.\n")
    assert told(run("ray")) == told(second := run("local"))
    assert second.changed and second.deleted and second.chunks_embedded <= 4
    require_equal()

    monkeypatch.setattr(ray_engine, "_pipeline", lambda paths, *_: pytest.fail(f"read {paths}"))
    for name in ("broken.pdf", "packed.docx", "rows.jsonl"):
        (corpus / name).unlink()
    assert not run("ray").chunks_embedded


def test_what_the_collection_has_is_not_embedded_on_the_way(ray, corpus):
    wanted = settings.load({"ingest.engine": "ray"}).values
    by_ray = engine.open_engine(wanted, reconcile.open_embedder("minilm"))
    paths = {"a": corpus / "gates.txt", "b": corpus / "sub" / "gates.txt",
             "c": corpus / "pumps.md"}
    first = list(by_ray.files(paths, []))
    assert [len(file.vectors) for file in first] == [1, 0, len(first[2].chunks)]
    held = [id_ for file in first for id_ in file.vectors]
    assert [len(file.vectors) for file in by_ray.files(paths, held)] == [0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_and_finished(sent, ray, corpus):
    """The process that is stopped has a Ray of its own, as users have."""
    for number in range(400):
        (corpus / f"{number}.md").write_text("\n\n".join(
            f"# Part {number}\n\nPump K{number * 40 + k} runs at {k} bar." for k in range(12)))
    with Path("log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "phi3kit", "ingest", "docs", "--engine", "ray", "--store",
             "store-ray"], stderr=log, stdout=log, start_new_session=True)
    try:
        wait_for(lambda: count("store-ray") > 0, process)
        os.killpg(process.pid, sent)  # as a terminal does: to the whole group
        assert process.wait(60) != 0
    finally:
        process.kill()
    assert "Traceback" not in Path("log").read_text()
    before = count("store-ray")
    assert before > 0
    last = run("ray")
    assert 0 < last.chunks_embedded <= last.chunks - before
    run("local")
    require_equal()


def wait_for(happened, process):
    end = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, Path("log").read_text()
        assert time.monotonic() < end
        time.sleep(0.05)


def count(folder):
    try:
        store = open_store(Path(folder), "documents")
    except StoreError:
        return 0
    found = store.count()
    store.close()
    return found


def test_another_model_on_a_machine_is_refused():
    recipe = ray_engine.Recipe("minilm", "sha256:other", "cpu", "auto", 200, None)
    with pytest.raises(Exception, match="another model on machine"):
        recipe.open()


def test_providers_are_refused(project):
    with pytest.raises(SettingsError, match="limits count all machines"):
        run("ray", **{"ingest.embedder": "http://127.0.0.1:9/v1#words"})


def test_without_ray_the_extra_is_named(corpus, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name, *more: None if name == "ray" else real(name, *more))
    with pytest.raises(SettingsError, match=r"pip install 'phi3kit\[ray\]'"):
        run("ray")


def test_a_cluster_out_of_reach(project, monkeypatch, capfd):
    monkeypatch.setenv("RAY_ADDRESS", "not-an-address")
    (project / "docs").mkdir()
    (project / "docs" / "a.txt").write_text("A note.")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(SettingsError, match="RAY_ADDRESS"):
        run("ray")


@pytest.mark.slow
def test_through_a_cluster_that_is_there_already(corpus, tmp_path):
    """Started by `ray start`, found by RAY_ADDRESS, asking for its token as clusters do now."""
    ray = Path(sys.executable).with_name("ray")
    address = socket.gethostbyname(socket.gethostname()) + ":6398"
    env = {**os.environ, "RAY_ADDRESS": address, "RAY_AUTH_MODE": "token",
           "RAY_AUTH_TOKEN": "0123456789abcdef" * 4, "RAY_USAGE_STATS_ENABLED": "0"}
    start = [ray, "start", "--head", "--port=6398", "--include-dashboard=false", "--num-cpus=2",
             f"--node-ip-address={address.partition(':')[0]}"]
    subprocess.run(start, env={k: v for k, v in env.items() if k != "RAY_ADDRESS"}, check=True,
                   capture_output=True, timeout=120)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "phi3kit", "ingest", "docs", "--engine", "ray", "--store",
             "store-ray"], env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 1, done.stderr  # the broken files, told as ever
        assert "broken.pdf" in done.stdout + done.stderr
    finally:
        subprocess.run([ray, "stop", "--force"], check=False, capture_output=True, timeout=120)
    run("local")
    require_equal()
