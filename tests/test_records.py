"""The records, each found in its file when it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from phi3kit import records


def test_every_record_is_found_where_the_type_checker_finds_it() -> None:
    text = Path(records.__file__).read_text(encoding="utf-8")
    imported = {name.name: node.module for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("phi3kit.")
                for name in node.names}
    assert sorted(imported) == sorted(records.__all__)
    found = {name: f"phi3kit.records.{file}" for name, file in records._FILE_OF.items()}
    assert found == imported
    for name, module in found.items():
        assert getattr(records, name) is vars(sys.modules[module])[name]


def test_one_record_does_not_bring_the_others() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from phi3kit.records import IngestReport; "
                               "print(*(n for n in sys.modules if 'phi3kit.records.' in n))"],
        capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["phi3kit.records.common", "phi3kit.records.ingest"]


def test_a_record_that_is_none() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        records.Nonsense  # noqa: B018
