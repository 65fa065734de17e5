"""`phi3kit report`: the same page again, from the run folder alone."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from phi3kit import runs
from phi3kit.compare.results import ROWS, analyse, load_comparison, save, score
from phi3kit.compare.rows import RowFile
from phi3kit.errors import DataError
from phi3kit.records import Comparison, Question, Row
from phi3kit.report.html import render_comparison, write_reports
from phi3kit.settings import CompareSettings


def finished(folder: Path, rag: float) -> Comparison:
    """A finished run of 20 questions about as many documents; `rag` is right so often."""
    questions = [Question(str(i), f"What is {i}?", (f"answer {i}",), (f"{i}.md",))
                 for i in range(20)]
    rows = score([Row(
        arm=arm, question_id=q.id, kind="", cluster=f"{q.id}.md", question=q.question,
        gold=q.answers, output=q.answers[0] if arm == "rag" and i < rag * 20 else "nothing",
        abstained=False, citations=(), removed_citations=(), passages=(), sources=(),
        tokens_in=9, tokens_out=2, seconds=0.1, metrics={})
        for arm in ("base", "rag") for i, q in enumerate(questions)], questions)
    run = runs.open_run(folder, "compare", {"rag": rag}, settings={})
    RowFile(run.path / ROWS).append(rows)
    found = analyse(rows, ("base", "rag"), CompareSettings(resamples=1000), run=run.path,
                    conditions={"model": "m"})
    save(found)
    run.finish({"seconds": 0.0})
    return found


@pytest.mark.parametrize(("rag", "code", "says"), [(1.0, 0, "rag wins"), (0.05, 3, "Not dec")])
def test_draws_it_again(run_cli: Callable, tmp_path: Path, rag: float, code: int,
                        says: str) -> None:
    found = finished(tmp_path, rag)
    done = run_cli("report", found.run, "--html", "page.html")
    assert done.returncode == code, done.stderr
    assert says in done.stdout
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == render_comparison(found)
    assert not (Path(found.run) / "report.html").exists()
    machine = run_cli("report", found.run, "--json")
    assert machine.returncode == code
    assert json.loads(machine.stdout)["verdict"]["winner"] == found.verdict.winner


def test_needs_no_torch(tmp_path: Path) -> None:
    """A machine without torch, transformers, chromadb or scipy draws it all the same."""
    found = finished(tmp_path, 1.0)
    script = ("import sys\n"
              "for name in ('torch', 'transformers', 'chromadb', 'scipy', 'statsmodels'):\n"
              "    sys.modules[name] = None\n"
              "from pathlib import Path\n"
              "from phi3kit.cli.report import report\n"
              f"report([Path({found.run!r})], None, False)\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    assert "rag wins" in done.stdout
    assert (Path(found.run) / "report.html").is_file()


def drop_line(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:3] + lines[4:]), encoding="utf-8")


def edit(run: Path, **conditions: object) -> None:
    """Change the conditions of a kept run, which has weights then."""
    path = run / "result.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["conditions"] |= {"weights": "quality=1,latency=1", **conditions}
    path.write_text(json.dumps(record), encoding="utf-8")


@pytest.mark.parametrize(("blocked", "flags"), [
    ("page", ("--html", "page")), ("report.html", ()), ("report.md", ())])
def test_where_it_cannot_be_written_is_one_line(run_cli: Callable, tmp_path: Path, blocked: str,
                                                flags: tuple[str, ...]) -> None:
    run = Path(finished(tmp_path, 1.0).run)
    (tmp_path if flags else run).joinpath(blocked).mkdir()
    done = run_cli("report", str(run), *flags)
    assert done.returncode == 1
    assert f"{blocked}: cannot be written (Is a directory)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = finished(tmp_path, 1.0)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"No space left on device.*--html"):
        write_reports(found)
    assert [path.name for path in Path(found.run).iterdir() if "report" in path.name] == []


@pytest.mark.parametrize("advice", [
    {"reasons": 5}, {"reasons": [{"statement": "x", "because": 5}]},
    {"reasons": [{"statement": 1}]}, {"confidence": "high", "scenario": 3}])
def test_an_edited_advice_is_drawn_without_what_cannot_be(advice: dict[str, object],
                                                          tmp_path: Path) -> None:
    found = finished(tmp_path, 1.0)
    path = Path(found.run) / "result.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["verdict"] |= {"prediction": "rag", "outcome": "confirmed"}
    path.write_text(json.dumps({**record, "advice": {"recommendation": "rag", **advice}}),
                    encoding="utf-8")
    assert "The advice before" in render_comparison(load_comparison(Path(found.run)))


@pytest.mark.parametrize(("make", "says"), [
    (lambda run: (run / "rows.jsonl").write_text("{}\n"), "rows.jsonl:1"),
    (lambda run: drop_line(run / "rows.jsonl"), "there are 19 of base instead of 20"),
    (lambda run: (run / "rows.jsonl").unlink(), "there are 0 of base instead of 20, 0 of rag"),
    (lambda run: edit(run, resamples="x"), "the conditions in result.json cannot be used"),
    (lambda run: edit(run, resamples=10 ** 12), "the conditions in result.json cannot be used"),
    (lambda run: edit(run, seed=None), "the conditions in result.json cannot be used"),
    (lambda run: edit(run, weights="speed=1"), "the weights in result.json cannot be used "
                                               "('speed' is no criterion). Run phi3kit compare"),
    (lambda run: (run / "result.json").write_text("{"), "result.json cannot be read"),
    (lambda run: (run / "result.json").unlink(), "not finished"),
    (lambda run: (run / "run.json").unlink(), "not a run folder"),
])
def test_damage_is_one_line(run_cli: Callable, tmp_path: Path, make: Callable,
                            says: str) -> None:
    found = finished(tmp_path, 1.0)
    make(Path(found.run))
    done = run_cli("report", found.run)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
