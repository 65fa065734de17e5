"""How Chroma is imported: beside other work, and without its proofs of its own classes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import pathlib, sys, threading, warnings
import overrides
before = overrides.override, overrides.overrides
filters = list(warnings.filters)
from phi3kit.ingest import client
client.begin_import()
found = []
others = [threading.Thread(target=lambda: found.append(client.library())) for _ in range(3)]
for other in others:
    other.start()
for other in others:
    other.join()
import chromadb
assert found == [chromadb] * 3
assert (overrides.override, overrides.overrides) == before, "left changed"
assert warnings.filters == filters, "left changed"

class Base:
    def ask(self) -> int: ...

try:  # others' classes are proved as before
    class Wrong(Base):
        @overrides.override
        def ask(self, more: str) -> int: ...
except TypeError:
    print("proved")
with client.connect(pathlib.Path(sys.argv[1])) as opened:
    print(type(opened).create_collection.__override__, opened.heartbeat() > 0)
"""


def test_imports_beside_other_work_and_leaves_all_as_it_was(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, str(tmp_path / "store")], text=True,
                          capture_output=True, check=False)
    assert done.stdout.splitlines() == ["proved", "True True"], done.stderr


def test_nothing_of_it_is_proved(tmp_path: Path) -> None:
    """Each proof reads the frame's bytecode: none may be left, or the import is slow again."""
    code = ("import overrides.overrides as proofs\nproved = []\n"
            "proofs._overrides = lambda method, *rest: proved.append(method) or method\n"
            "from phi3kit.ingest import client\nclient.library()\nprint(len(proved))")
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "0"
