"""`phi3kit advise` with answers from data, and with what a comparison measured."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from finished_comparison import finished

DATA = Path(__file__).resolve().parents[2] / "data"
LOW, HIGH = [0.0, 0.1] * 20, [0.9, 1.0] * 20
SCENARIO = "task: qa\nexternal_facts: essential\nfacts_change: monthly\ntraining_examples: 0\n"


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A project with the sample's documents and examples."""
    shutil.copytree(DATA / "documents", tmp_path / "my docs")
    shutil.copy(DATA / "train.jsonl", tmp_path / "train.jsonl")
    return tmp_path


def test_answers_come_from_the_sample_data(run_cli, sample) -> None:
    done = run_cli("advise", "--corpus", "my docs", "--dataset", "train.jsonl", "--json",
                   "--html", "advice.html")
    assert done.returncode == 0, done.stderr
    advice = json.loads(done.stdout)
    found = {item["field"]: item["value"] for item in advice["measured"]}
    lines = (DATA / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert found["training_examples"] == len(lines)
    assert 15_000 < found["corpus_tokens"] < 25_000
    assert advice["scenario"] | found == advice["scenario"]
    assert all(item["how"] and item["given"] is None for item in advice["measured"])
    assert "task is not measured: " in done.stderr
    assert "(1/" not in done.stderr  # no terminal: nothing is asked
    assert "phi3kit ingest 'my docs'" in advice["next"]
    assert any("--dataset train.jsonl" in command for command in advice["next"])
    indexed = next(c for c in advice["costs"] if c["what"] == "tokens to index")
    assert indexed["expected"] == found["corpus_tokens"]
    assert "training_examples" in (sample / "advice.html").read_text(encoding="utf-8")
    assert json.loads((sample / ".phi3kit/prediction.json").read_text()) == advice


def test_the_users_answers_go_before_the_measured(run_cli, sample) -> None:
    (sample / "s.yaml").write_text("training_examples: 7\nvocabulary: unknown\n")
    done = run_cli("advise", "s.yaml", "--corpus", "my docs", "--dataset", "train.jsonl",
                   "--set", "external_facts=some", "--what-if", "output_strictness=low", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    before = {item["field"]: item for item in told["before"]["measured"]}
    assert before["training_examples"]["given"] == 7
    assert before["training_examples"]["value"] != 7
    assert before["external_facts"]["given"] == "some"
    assert told["before"]["scenario"]["training_examples"] == 7
    assert told["before"]["scenario"]["vocabulary"] == before["vocabulary"]["value"]
    assert told["before"]["scenario"]["output_strictness"] != "low"
    assert told["after"]["scenario"]["output_strictness"] == "low"
    assert not (sample / ".phi3kit").exists()


def test_the_order_of_the_lines_does_not_matter(run_cli, sample) -> None:
    first = run_cli("advise", "--dataset", "train.jsonl", "--json").stdout
    lines = (sample / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (sample / "train.jsonl").write_text("".join(reversed(lines)), encoding="utf-8")
    assert run_cli("advise", "--dataset", "train.jsonl", "--json").stdout == first


def test_one_bad_file_and_line_do_not_stop_the_others(run_cli, sample) -> None:
    (sample / "my docs/broken.docx").write_bytes(b"not a zip file")
    with (sample / "train.jsonl").open("a", encoding="utf-8") as out:
        out.write("{broken\n")
    done = run_cli("advise", "--corpus", "my docs", "--dataset", "train.jsonl", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["measured"]
    said = [line for line in done.stderr.splitlines() if line.startswith("phi3kit: ")]
    assert len(said) == 2
    assert "my docs/broken.docx" in said[0]
    assert "train.jsonl:346" in said[1]


@pytest.mark.parametrize("args", [
    ("--corpus", "none"), ("--dataset", "none.jsonl"), ("--model", "none"),
    ("--evidence", "none"), ("--set", "task=qa", "--html", "my docs"),
])
def test_what_is_not_there_is_one_line(run_cli, sample, args) -> None:
    done = run_cli("advise", *args)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("phi3kit: ")
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("phi3kit: ") for line in done.stderr.splitlines()) == 1


def test_the_model_tells_its_size(run_cli, tmp_path) -> None:
    done = run_cli("advise", "--model", "phi-3-mini", "--set", "training_examples=5000",
                   "--set", "closed_output=yes", "--set", "gpu_memory_gb=24", "--json")
    assert done.returncode == 0, done.stderr
    advice = json.loads(done.stdout)
    assert advice["scenario"]["model_size_b"] == 3.82
    assert advice["measured"][0]["how"] == "from the model's shape: 3,821,079,552 weights"
    assert advice["recommendation"] == "finetune"
    memory = next(cost for cost in advice["costs"] if cost["what"] == "memory to train")
    plan = json.loads(run_cli("plan", "--model", "phi-3-mini", "--method", "lora",
                              "--gpu-memory", "24", "--json").stdout)
    assert memory["expected"] == pytest.approx(plan["total"] / 1e9)
    assert any("--model phi-3-mini" in command for command in advice["next"])


def test_the_project_files_data_is_not_measured_unasked(run_cli, sample) -> None:
    (sample / "phi3kit.yaml").write_text(
        "ingest:\n  corpus: [my docs]\nfinetune:\n  dataset: train.jsonl\n")
    advice = json.loads(run_cli("advise", "--set", "task=qa", "--json").stdout)
    assert advice["measured"] == []
    assert advice["scenario"]["training_examples"] is None
    # The commands need no names, for the project has them.
    assert "phi3kit ingest" in advice["next"]


def test_evidence_is_read_back(run_cli, tmp_path) -> None:
    (tmp_path / "s.yaml").write_text(SCENARIO)
    seen = finished(tmp_path / "runs", {"base": LOW, "rag": LOW, "finetune": HIGH})
    run = str(Path(seen.run).relative_to(tmp_path))
    done = run_cli("advise", "s.yaml", "--evidence", run, "--json")
    assert done.returncode == 0, done.stderr
    advice = json.loads(done.stdout)
    assert (advice["recommendation"], advice["basis"]) == ("finetune", "measured")
    assert advice["comparison"]["argued"] == "rag"
    assert advice["comparison"]["run"] == run
    assert "no prediction saved" in done.stderr
    assert not (tmp_path / ".phi3kit").exists()
    done = run_cli("advise", "s.yaml", "--evidence", run, "--save", "p.json")
    assert "Measured" in done.stdout
    assert json.loads((tmp_path / "p.json").read_text()) == advice


def test_evidence_brings_the_answers_of_its_prediction(run_cli, tmp_path) -> None:
    before = {"recommendation": "rag", "decided": True,
              "scenario": {"task": "qa", "citations": "required", "vocabulary": None}}
    seen = finished(tmp_path / "runs", {"base": LOW, "rag": HIGH}, advice=before)
    done = run_cli("advise", "--evidence", seen.run, "--json")
    assert json.loads(done.stdout)["scenario"]["citations"] == "required"
    assert "put to the test" in done.stderr
    done = run_cli("advise", "--evidence", seen.run, "--set", "task=code", "--json")
    assert json.loads(done.stdout)["scenario"]["citations"] is None


def test_an_undecided_comparison_is_advice_all_the_same(run_cli, tmp_path) -> None:
    seen = finished(tmp_path / "runs", {"base": HIGH, "rag": [1.0, 0.9] * 20})
    done = run_cli("advise", "--set", "task=qa", "--evidence", seen.run, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["decided"] is False


def test_an_unfinished_or_other_run_is_refused(run_cli, tmp_path) -> None:
    seen = finished(tmp_path / "runs", {"base": LOW, "rag": HIGH})
    record = Path(seen.run) / "run.json"
    state = json.loads(record.read_text())
    for change, why in (({"status": "running"}, "not finished"),
                        ({"kind": "finetune"}, "not by compare")):
        record.write_text(json.dumps({**state, **change}))
        done = run_cli("advise", "--set", "task=qa", "--evidence", seen.run)
        assert done.returncode == 1
        assert why in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_on_a_terminal_only_the_rest_is_asked(sample) -> None:
    """Answers that were measured are listed, and the numbering counts what is asked."""
    parent, child = pty.openpty()
    asking = subprocess.Popen(
        [sys.executable, "-m", "phi3kit", "advise", "--dataset", "train.jsonl", "--set",
         "vocabulary=high", "--json"],
        cwd=sample, stdin=child, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "NO_COLOR": "1"})
    os.close(child)
    os.write(parent, b"code\n" + b"\x04")  # one answer, then the end of the input
    out, said = asking.communicate(timeout=60)
    os.close(parent)
    advice = json.loads(out)
    measured = {item["field"] for item in advice["measured"]}
    asked = 18 - len(measured | {"vocabulary"})
    assert f"(1/{asked}) " in said
    assert "Measured, and not asked: training_examples = 345" in said
    assert advice["scenario"]["task"] == "code"
    assert advice["scenario"]["vocabulary"] == "high"


def test_files_and_evidence_import_nothing_heavy(sample) -> None:
    (sample / "s.yaml").write_text(SCENARIO)
    seen = finished(sample / "runs", {"base": LOW, "rag": HIGH})
    probe = ("import sys\n"
             "from phi3kit.cli.app import main\n"
             "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
             "print([m for m in ('torch', 'transformers', 'chromadb', 'numpy', 'scipy', "
             "'questionary') if m in sys.modules])")
    done = subprocess.run(
        [sys.executable, "-c", probe, "advise", "s.yaml", "--model", "phi-3-mini", "--evidence",
         seen.run], capture_output=True, text=True, cwd=sample)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
