"""--watch: a process that keeps a collection current until Ctrl-C."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from holdings import FOLDER, places

from phi3kit.errors import Phi3kitError
from phi3kit.ingest import lock
from phi3kit.ingest.watch import _ticks

WATCHING = """
import sys
sys.path.insert(0, {here!r})
from word_embedder import WordEmbedder
from phi3kit.ingest import reconcile
from phi3kit.cli.app import main
reconcile.open_embedder = lambda name, **_: WordEmbedder()
main()
"""


class Watch:
    """A running `phi3kit ingest --watch`, and what it says."""

    def __init__(self, *args):
        script = WATCHING.format(here=str(Path(__file__).parent))
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, "ingest", *args, "--watch", "--json"], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.reports, self.notes = queue.Queue(), queue.Queue()
        for stream, into in ((self.process.stdout, self.reports),
                             (self.process.stderr, self.notes)):
            threading.Thread(target=lambda s=stream, q=into: [q.put(line) for line in s],
                             daemon=True).start()

    def next(self):
        return json.loads(self.reports.get(timeout=60))

    def note(self, begin):
        while not (line := self.notes.get(timeout=60)).startswith(begin):
            pass
        return line

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@pytest.fixture
def watch():
    started = []

    def start(*args):
        started.append(Watch(*args))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()


def test_it_follows_what_changes_until_it_is_stopped(docs, watch):
    running = watch("docs")
    assert running.next()["counts"]["added"] == 3
    running.note("watching")
    (docs / "new.md").write_text("# New\n\nSomething new.\n")
    assert running.next()["added"] == ["docs/new.md"]
    (docs / "pumps.md").rename(docs / "lifts.md")
    report = running.next()
    assert (report["added"], report["deleted"]) == (["docs/lifts.md"], ["docs/pumps.md"])
    (docs / "bad.txt").write_bytes(bytes(range(256)))  # does not stop it
    assert running.next()["counts"]["failed"] == 1
    (docs / "bad.txt").unlink()
    running.next()
    (docs / ".hidden.md").write_text("not a document")
    (docs / "gates.txt").unlink()
    assert running.next()["deleted"] == ["docs/gates.txt"]
    assert running.stop() == 0
    assert running.note("stopped")
    assert set(places()) == {"docs/lifts.md", "docs/new.md", "docs/sub/cranes.md"}
    assert not (FOLDER / "writer.json").exists()


def test_another_writer_is_waited_for(docs, watch):
    running = watch("docs")
    running.next()
    running.note("watching")
    with lock.writer(FOLDER):
        (docs / "new.md").write_text("# New\n\nSomething new.\n")
        assert f"process {os.getpid()}" in running.note(str(FOLDER))
    assert running.next()["added"] == ["docs/new.md"]
    assert running.stop() == 0


def test_files_that_editors_replace_and_folders_that_come_back(docs, watch):
    folder = docs / "sub"
    running = watch("docs/gates.txt", "docs/sub")
    assert running.next()["counts"]["added"] == 2
    running.note("watching")
    (docs / "gates.new").write_text("The south gate.\n")
    (docs / "gates.new").replace(docs / "gates.txt")
    assert running.next()["changed"] == ["docs/gates.txt"]
    folder.rename(docs / "away")
    assert running.next()["failed"][0]["where"] == "docs/sub"
    (docs / "away").rename(folder)
    while running.next()["failed"]:
        pass
    (folder / "more.md").write_text("# More\n\nMore.\n")
    while running.next()["added"] != ["docs/sub/more.md"]:
        pass
    assert running.stop() == 0


@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_whose_place_another_takes_is_watched(linked, docs, watch):
    """As by `mv`, or by a link that is made to lead to the next release."""
    releases = [docs.rename("first"), Path("second")]
    shutil.copytree(*releases)
    if linked:
        docs.symlink_to(releases[0].absolute())
    else:
        releases[0].rename(docs)
    running = watch("docs")
    running.next()
    running.note("watching")
    time.sleep(2)  # what is said before it is so
    if linked:
        Path("next").symlink_to(releases[1].absolute())
        Path("next").replace(docs)
    else:
        docs.rename(releases[0])
        releases[1].rename(docs)
    time.sleep(3)  # more than a look at the folders, and nothing is written meanwhile
    (docs / "new.md").write_text("# New\n\nSomething new.\n")
    while not (report := running.next())["added"]:
        pass  # the other folder itself, with the same in it
    assert report["added"] == ["docs/new.md"]
    assert running.stop() == 0


def test_a_mistake_at_the_start_ends_it(docs, watch):
    running = watch("docs", "--chunk-tokens", "255")
    assert running.process.wait(60) == 2
    assert "chunks of 255 tokens" in running.note("phi3kit:")


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the library that watches: (recursive, folders), each time."""
    calls = []

    def changes(*folders, recursive, ignore_permission_denied, **_):
        assert ignore_permission_denied
        calls.append((recursive, folders))
        while True:
            yield set()

    monkeypatch.setattr("watchfiles.watch", changes)
    return calls


def test_only_folders_that_are_named_are_watched_with_all_below_them(docs, asked):
    names = [str(docs / "sub"), str(docs / "gates.txt"), str(docs.parent / "absent" / "deep")]
    ticks = _ticks(names, FOLDER)
    assert next(ticks) is False
    assert sorted(asked) == [(False, (docs.parent, docs)), (True, (docs / "sub",))]
    (docs.parent / "absent" / "deep").mkdir(parents=True)
    assert [next(ticks), next(ticks)] == [True, False]
    assert sorted(asked[2:]) == [(False, (docs,)),
                                 (True, (docs.parent / "absent" / "deep", docs / "sub"))]
    assert next(_ticks(["/absent/deep"], FOLDER)) is False
    assert asked[-1] == (False, (Path("/"),))


@pytest.mark.parametrize("error", [OSError("OS file watch limit reached."), RuntimeError("no")])
def test_what_cannot_be_watched_is_told_in_one_line(error, docs, monkeypatch):
    def changes(*_, **__):
        raise error
        yield

    monkeypatch.setattr("watchfiles.watch", changes)
    with pytest.raises(Phi3kitError, match=r"docs: cannot be watched \(.*fewer folders"):
        next(_ticks(["docs"], FOLDER))
