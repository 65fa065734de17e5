"""A retriever in a process of its own, against the one in ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from phi3kit import settings
from phi3kit.errors import SettingsError, StoreError
from phi3kit.ingest.reconcile import ingest
from phi3kit.rag.apart import ApartRetriever
from phi3kit.rag.retrieve import open_retriever
from phi3kit.settings import Settings

QUESTIONS = ["What is the K-310 seal made of?", "Which grease does the W-12 take?", "Who?"]


@pytest.fixture
def shelved(project: Path) -> Settings:
    (project / "docs").mkdir()
    for name, text in {"seals.md": "The K-310 seal is made of Viton, «checked» every 14 days.",
                       "winches.md": "The W-12 winch takes marine grease No. 4."}.items():
        (project / "docs" / name).write_text(f"# Yard\n\n{text}\n", encoding="utf-8")
    values = settings.load({"ingest.corpus": ("docs",)}).values
    ingest(values)
    return values


@pytest.mark.model
def test_it_finds_the_same_passages(shelved: Settings, project: Path) -> None:
    (project / "random.py").write_text("raise SystemExit('not this one')\n")
    here = open_retriever(shelved)
    with ApartRetriever(shelved) as apart:
        assert apart.fingerprint == here.fingerprint
        for k in (1, 2):
            assert apart.retrieve(QUESTIONS, k, 0.2) == here.retrieve(QUESTIONS, k, 0.2)
    apart.close()


def test_what_is_wrong_is_told_as_here(project: Path) -> None:
    for flags, kind in (({}, StoreError), ({"ask.filters": ("colour=red",)}, SettingsError)):
        values = settings.load(flags).values
        with pytest.raises(kind) as here:
            open_retriever(values)
        with pytest.raises(kind) as apart:
            ApartRetriever(values)
        assert (str(apart.value), apart.value.exit_code) == (str(here.value), here.value.exit_code)


@pytest.mark.model
def test_a_process_that_was_killed_is_told_in_a_line(shelved: Settings) -> None:
    with ApartRetriever(shelved) as apart:
        os.kill(apart._process.pid, signal.SIGKILL)
        apart._process.wait()
        with pytest.raises(StoreError, match=r"passages up was killed by SIGKILL.*Run the same"):
            apart.retrieve(QUESTIONS, 1, 0.2)


ASKING = """
import sys, msgspec
from phi3kit.rag.apart import ApartRetriever
from phi3kit.settings import Settings
with ApartRetriever(msgspec.json.decode(sys.argv[1], type=Settings)) as apart:
    print(len(apart.retrieve(["What is the K-310 seal made of?"], 1, 0.2)[0]))
print(*({"chromadb", "openvino", "torch"} & sys.modules.keys()))
"""


@pytest.mark.model
def test_nothing_of_the_search_comes_into_the_process_that_asks(shelved: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKING, msgspec.json.encode(shelved).decode()],
        capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]
