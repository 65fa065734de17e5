from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from phi3kit.errors import DataError
from phi3kit.ingest.document import Document
from phi3kit.ingest.readers import read_document
from phi3kit.ingest.workers import Readers


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("# Gate\n\nIt opens at seven.\n")
    return path


@pytest.fixture
def endless(tmp_path):
    """A workbook whose second row is so far down that reading it takes for ever."""
    import hostile_parts as parts

    path = tmp_path / "endless.xlsx"
    path.write_bytes(parts.sheet(parts.row(1, ("A", "a")) + parts.row(2**40, ("A", "b"))))
    return path


def children():
    return {child.pid for child in psutil.Process().children()}


def test_a_worker_reads_as_the_reader_does(text):
    with Readers() as readers:
        sha256, document = readers.read(text)
    assert isinstance(document, Document)
    assert document == read_document(text, text.read_bytes())
    assert sha256 == hashlib.sha256(text.read_bytes()).hexdigest()


def test_one_worker_for_all_files_and_none_afterwards(text):
    before = children()
    with Readers() as readers:
        workers = [children() - before for _ in range(3) if readers.read(text)]
        assert workers[0] == workers[1] == workers[2] and len(workers[0]) == 1
    assert children() == before


def test_what_is_wrong_is_told_as_in_one_process(tmp_path, text):
    (tmp_path / "b.pdf").write_bytes(b"words")
    with Readers() as readers:
        with pytest.raises(DataError, match="no PDF"):
            readers.read(tmp_path / "b.pdf")
        with pytest.raises(FileNotFoundError):
            readers.read(tmp_path / "gone.txt")
        assert readers.read(text)


def test_a_file_that_takes_too_long_costs_its_own_time_only(endless, text):
    with Readers(seconds=1.5) as readers:
        started = time.monotonic()
        with pytest.raises(DataError, match=r"not read within 1\.5 s"):
            readers.read(endless)
        assert time.monotonic() - started < 4
        assert readers.read(text)[1].headings


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_fails_one_file(number, endless, text):
    before = children()
    with Readers() as readers:
        readers.begin(endless)
        worker = (children() - before).pop()
        time.sleep(0.5)
        os.kill(worker, number)
        with pytest.raises(DataError, match=f"killed by {number.name}"):
            readers.read(endless)
        assert readers.read(text)


def test_a_worker_that_dies_between_files_fails_none(text):
    before = children()
    with Readers() as readers:
        readers.read(text)
        os.kill((children() - before).pop(), signal.SIGKILL)
        time.sleep(0.2)
        assert readers.read(text)


def test_a_file_can_be_begun_and_another_read(text, endless):
    with Readers(seconds=5) as readers:
        readers.begin(text)
        assert readers.read(text)
        readers.begin(endless)
        assert readers.read(text)


@pytest.mark.skipif(sys.platform != "linux", reason="no other system counts a process's data")
def test_memory_ends_before_the_machine_does(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(b"[" + b"{}," * 20_000_000 + b"1]")
    with Readers() as readers:
        with pytest.raises(DataError, match="more than 800 MiB of memory"):
            readers.read(path)
        assert readers.read(text)


def test_what_became_a_pipe_is_not_waited_for(tmp_path, text):
    os.mkfifo(tmp_path / "a.txt")
    with Readers() as readers:
        with pytest.raises(DataError, match="not a file"):
            readers.read(tmp_path / "a.txt")
        assert readers.read(text)


def test_too_large_a_file_is_not_read(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("wb") as out:
        out.truncate(2 * 2**30)
    with Readers() as readers, pytest.raises(DataError, match=r"2,048 MiB .* Split it"):
        readers.read(path)


def test_python_is_not_shadowed_by_the_working_folder(tmp_path, text, monkeypatch):
    (tmp_path / "csv.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    with Readers() as readers:
        assert readers.read(Path("b.csv"))[1].text == "a: 1\nb: 2"


def test_an_orphan_ends(text):
    code = ("import sys, time; from pathlib import Path; from phi3kit.ingest.workers import Readers"
            "; r = Readers(); r.read(Path(sys.argv[1])); print(r._worker.pid, flush=True)"
            "; time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code, str(text)],
                          stdout=subprocess.PIPE, text=True) as parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
        worker.wait(timeout=5)


def test_ctrl_c_ends_the_worker(endless):
    code = ("import sys; from pathlib import Path; from phi3kit.ingest.workers import Readers\n"
            "with Readers() as r:\n"
            "    r.begin(Path(sys.argv[1])); print(r._worker.pid, flush=True)\n"
            "    r.read(Path(sys.argv[1]))")
    with subprocess.Popen([sys.executable, "-c", code, str(endless)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.5)
        parent.send_signal(signal.SIGINT)
        parent.wait(timeout=5)
        assert not worker.is_running()
