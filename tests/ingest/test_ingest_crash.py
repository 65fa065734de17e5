"""A process killed at any write leaves true passages, and the next run ends with the set."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from holdings import FOLDER, exact, places

from phi3kit.ingest.store import open_store

# Kills itself at the n-th write to the collection or to the state: before it, or after it.
KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
from word_embedder import WordEmbedder
from phi3kit import settings
from phi3kit.ingest import batch, kept, reconcile, store, swap
reconcile.open_embedder = lambda name, **_: WordEmbedder()
batch._CHUNKS = 2
left = [int(sys.argv[1])]
def counted(owner, name, before):
    real = getattr(owner, name)
    def call(*args, **more):
        left[0] -= 1
        now = left[0] == 0
        if now and before:
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(*args, **more)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    setattr(owner, name, call)
for owner, names in ((store.Store, ("add", "relabel", "delete")), (store, ("create_store",)),
                     (swap, ("stage", "publish", "_settle", "_sweep")),
                     (kept, ("forget_state", "write_state"))):
    for name in names:
        counted(owner, name, sys.argv[2] == "before")
reconcile.ingest(settings.load().values, ["docs"], rebuild=sys.argv[3] == "rebuild")
"""


# Cut into several chunks, so that an edit of its end keeps some of them.
LONG = "# Pumps\n\n" + "".join(
    f"The K{n} runs at {n} bar; its seal lasts {n}00 hours. " for n in range(1, 9))
ORIGINALS = {"pumps.md": LONG + "The end.\n",
             "gates.txt": "The north gate is checked by the lock keeper.\n"}


# One side of each write in the default suite, the other in the slow one.
BEFORE = pytest.param("before", marks=pytest.mark.slow)
AFTER = pytest.param("after", marks=pytest.mark.slow)


@pytest.fixture(autouse=True)
def several_chunks(docs):
    (docs.parent / "phi3kit.yaml").write_text("ingest:\n  chunk_tokens: 32\n")
    for path, text in ORIGINALS.items():
        (docs / path).write_text(text)


def killed(write, when, kind="update"):
    script = KILLED.format(here=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script, str(write), when, kind],
                          capture_output=True, text=True)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


def texts(rows):
    """Each text with the vector that it has."""
    return {(id_, text, vector) for id_, text, _, vector in rows}


def edit(docs):
    (docs / "pumps.md").write_text(LONG + "The K7 was replaced by the K9.\n")
    (docs / "gates.txt").unlink()
    (docs / "new.md").write_text("# New\n\nSomething new.\n")


@pytest.mark.parametrize("when", ["before", AFTER])
def test_killed_in_the_first_run(when, ingest, docs):
    writes = 0
    while killed(writes + 1, when):
        writes += 1
        assert writes < 20
        ingest("docs")
        assert set(places()) == {"docs/gates.txt", "docs/pumps.md", "docs/sub/cranes.md"}
        assert len(exact()) == 6
        for path in FOLDER.iterdir():
            if path.suffix == ".json":
                path.unlink()
        store = open_store(FOLDER, "documents")
        store.delete([row[0] for row in exact()])
        store.close()
    assert writes >= 3


@pytest.mark.parametrize("when", [BEFORE, "after"])
def test_killed_while_updating(when, ingest, docs):
    """At every write in turn: edit, kill, and then either finish or take the edit back."""
    originals = {path: path.read_text() for path in docs.rglob("*.*")}
    ingest("docs")
    first = exact()
    edit(docs)
    ingest("docs")
    second = exact()
    assert first != second
    writes = 0
    dies = True
    while dies:
        for back in (True, False):
            (docs / "new.md").unlink(missing_ok=True)
            for path, text in originals.items():
                path.write_text(text)
            ingest("docs")
            assert exact() == first
            edit(docs)
            dies = killed(writes + 1, when)
            # Whatever was written so far is a true passage of one of the two versions.
            assert texts(exact()) <= texts(first) | texts(second)
            if back:
                (docs / "new.md").unlink()
                for path, text in originals.items():
                    path.write_text(text)
                ingest("docs")
                assert exact() == first
            else:
                ingest("docs")
                assert exact() == second
        writes += 1
        assert writes < 20
    assert writes >= 6


@pytest.mark.parametrize("when", ["before", AFTER])
def test_killed_while_rebuilding(when, ingest, docs):
    """At every write in turn: what answers is the old collection or the new one, whole."""
    ingest("docs")
    first = exact()
    edit(docs)
    ingest("docs", collection="expected")
    second = exact("expected")
    assert first != second
    writes, seen = 0, []
    dies = True
    while dies:
        dies = killed(writes + 1, when, "rebuild")
        seen.append("old" if exact() == first else "new")
        assert exact() == (first if seen[-1] == "old" else second)
        ingest("docs")
        assert exact() == second
        shutil.rmtree(FOLDER)
        for path, text in ORIGINALS.items():
            (docs / path).write_text(text)
        (docs / "new.md").unlink()
        ingest("docs")
        assert exact() == first
        edit(docs)
        writes += 1
        assert writes < 20
    assert seen == ["old"] * seen.count("old") + ["new"] * seen.count("new")
    assert seen.count("old") >= 4 and seen.count("new") >= 3
