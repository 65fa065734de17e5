"""`phi3kit advise` as a process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCENARIO = """\
task: qa
external_facts: essential
facts_in_request: no
facts_change: weekly
citations: required
training_examples: 0
"""


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    return path


def test_json_fields_and_prediction(run_cli, scenario, tmp_path) -> None:
    done = run_cli("advise", str(scenario), "--json")
    assert done.returncode == 0, done.stderr
    advice = json.loads(done.stdout)
    assert advice["recommendation"] == "rag"
    assert advice["decided"] is True
    assert {"confidence", "scores", "reasons", "reverse_when", "missing"} <= set(advice)
    assert json.loads((tmp_path / ".phi3kit/prediction.json").read_text()) == advice
    assert "prediction.json" in done.stderr


def test_save_set_and_what_if(run_cli, scenario, tmp_path) -> None:
    done = run_cli("advise", str(scenario), "--set", "citations=no", "--save", "p/x.json",
                   "--json")
    assert json.loads(done.stdout)["scenario"]["citations"] == "no"
    assert (tmp_path / "p/x.json").is_file()
    assert not (tmp_path / ".phi3kit/prediction.json").exists()
    done = run_cli("advise", str(scenario), "--what-if", "external_facts=none", "--json")
    changed = json.loads(done.stdout)
    assert changed["before"]["scores"]["rag"] > changed["after"]["scores"]["rag"]
    assert not (tmp_path / ".phi3kit/prediction.json").exists()
    done = run_cli("advise", str(scenario), "--what-if", "external_facts=none")
    assert "rule external-data" in done.stdout


def test_screen_fits_and_hides_nothing(run_cli, scenario) -> None:
    done = run_cli("advise", str(scenario), env={"COLUMNS": "60"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(len(line) <= 60 for line in lines if not line.startswith("  phi3kit "))
    assert len(lines) <= 45
    for part in ("Advice: rag", "Why", "What would reverse it", "Unanswered", "Next",
                 "phi3kit ingest", "changing-facts"):
        assert part in done.stdout


def test_markdown_says_the_same(run_cli, scenario) -> None:
    done = run_cli("advise", str(scenario), "--markdown")
    assert done.stdout.startswith("# Advice: rag")
    assert "```\nphi3kit ingest YOUR_DOCUMENTS/" in done.stdout
    assert done.stdout.count("```") == 2


def test_undecided_says_measure(run_cli, tmp_path) -> None:
    (tmp_path / "s.yaml").write_text("facts_in_request: yes\nexternal_facts: essential\n")
    done = run_cli("advise", "s.yaml")
    assert "Advice: measure" in done.stdout
    assert "contradiction" in done.stdout
    assert "phi3kit compare" in done.stdout


def test_mistakes_are_one_line(run_cli, tmp_path) -> None:
    (tmp_path / "s.yaml").write_text("task: qa\ncitation: required\n")
    done = run_cli("advise", "s.yaml")
    assert done.returncode == 1
    assert done.stderr == ("phi3kit: s.yaml:2: unknown field 'citation'. "
                           "Did you mean 'citations'?\n")
    assert run_cli("advise", "none.yaml").returncode == 1
    assert run_cli("advise", "s.yaml", "--json", "--markdown").returncode == 2
    assert run_cli("advise", "--explain", "nonsense").returncode == 1


def test_piped_questionnaire(run_cli, tmp_path) -> None:
    # task by number, a wrong answer asked again, back and over, then the end of the input.
    done = run_cli("advise", "--json", input="1\nplenty\nessential\nback\nnone\n\n")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)["scenario"]
    assert (answers["task"], answers["external_facts"]) == ("qa", "none")
    assert answers["facts_in_request"] is None
    assert "(1/18)" in done.stderr
    assert "'plenty'" in done.stderr
    assert not (tmp_path / ".phi3kit/advise-draft.yaml").exists()


def test_draft_is_continued(run_cli, tmp_path) -> None:
    (tmp_path / ".phi3kit").mkdir()
    draft = tmp_path / ".phi3kit/advise-draft.yaml"
    draft.write_text('task: "qa"\nexternal_facts: "essential"\n')
    done = run_cli("advise", "--json", input="no\n")
    assert "(3/18)" in done.stderr
    assert "(2/18)" not in done.stderr
    answers = json.loads(done.stdout)["scenario"]
    assert (answers["task"], answers["facts_in_request"]) == ("qa", "no")
    assert not draft.exists()


def test_flags_leave_the_draft_alone(run_cli, tmp_path) -> None:
    (tmp_path / ".phi3kit").mkdir()
    draft = tmp_path / ".phi3kit/advise-draft.yaml"
    draft.write_text('task: "qa"\n')
    assert run_cli("advise", "--set", "task=code", "--json").returncode == 0
    assert draft.exists()


def test_scenario_from_the_project_file(run_cli, scenario, tmp_path) -> None:
    (tmp_path / "phi3kit.yaml").write_text("advise:\n  scenario: scenario.yaml\n")
    assert json.loads(run_cli("advise", "--json").stdout)["recommendation"] == "rag"
    assert "scenario.yaml" in run_cli("advise", "--dry-run").stdout


def test_explain_and_validate(run_cli) -> None:
    done = run_cli("advise", "--explain", "long-tail")
    assert "https://" in done.stdout
    done = run_cli("advise", "--validate")
    assert done.returncode == 0, done.stderr
    for part in ("always rag", "cookbook rules alone", "held-out studies", "decided in"):
        assert part in done.stdout


@pytest.mark.parametrize("flags", [
    ("--validate", "--markdown"), ("--validate", "--html", "a.html"),
    ("--explain", "long-tail", "--save", "p.json"), ("--explain", "long-tail", "--evidence", "r"),
    ("--explain", "long-tail", "--validate"), ("--validate", "s.yaml")])
def test_the_rules_are_shown_without_a_scenario(run_cli, flags) -> None:
    done = run_cli("advise", *flags)
    assert done.returncode == 2
    assert "advises nothing; leave out" in done.stderr


@pytest.mark.parametrize("flag", ["--html", "--save"])
def test_a_file_that_cannot_be_written_loses_no_answer(run_cli, tmp_path, flag) -> None:
    (tmp_path / "there").mkdir()
    done = run_cli("advise", flag, "there", input="qa\nessential\n")
    assert done.returncode == 1
    assert "phi3kit: there" in done.stderr
    again = run_cli("advise", "--json", input="no\n")
    answers = json.loads(again.stdout)["scenario"]
    assert (answers["task"], answers["external_facts"], answers["facts_in_request"]) == (
        "qa", "essential", "no")
    assert not (tmp_path / ".phi3kit/advise-draft.yaml").exists()


def test_each_answer_is_kept_at_once(tmp_path) -> None:
    asking = subprocess.Popen([sys.executable, "-m", "phi3kit", "advise"], cwd=tmp_path, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE)
    assert asking.stdin is not None and asking.stderr is not None
    asking.stdin.write("qa\n")
    asking.stdin.flush()
    for line in asking.stderr:
        if "(2/18)" in line:
            break
    asking.kill()
    asking.communicate()
    assert 'task: "qa"' in (tmp_path / ".phi3kit/advise-draft.yaml").read_text()


def test_imports_nothing_heavy(scenario) -> None:
    probe = ("import sys; sys.argv = ['phi3kit', 'advise', sys.argv[1], '--json']\n"
             "from phi3kit.cli.app import main\n"
             "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
             "print([m for m in ('torch', 'transformers', 'chromadb', 'numpy', 'questionary') "
             "if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", probe, str(scenario)], capture_output=True,
                          text=True, cwd=scenario.parent)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
