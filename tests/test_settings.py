"""The merge: defaults < file < flags, and what is refused."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from phi3kit import settings
from phi3kit.errors import SettingsError
from phi3kit.settings.names import paths


def write(folder: Path, text: str) -> None:
    (folder / "phi3kit.yaml").write_text(text, encoding="utf-8")


def test_defaults_file_flags(project: Path) -> None:
    write(project, "finetune:\n  rank: 8\n  epochs: 2\n")
    resolved = settings.load({"finetune.rank": 4, "finetune.seed": None})
    assert (resolved.values.finetune.rank, resolved.values.finetune.epochs) == (4, 2.0)
    assert resolved.sources["finetune.rank"] == "flag"
    assert resolved.sources["finetune.epochs"] == "file"
    assert resolved.sources["finetune.seed"] == "default"


def test_every_key_has_a_trade_off_and_a_source(project: Path) -> None:
    resolved = settings.load()
    assert set(resolved.sources) == set(settings.keys())
    assert all(len(text) > 30 for text in settings.keys().values())


@pytest.mark.parametrize(("text", "said"), [
    ("model:\n  nme: x\n", "phi3kit.yaml:2: unknown key 'model.nme'. Did you mean 'model.name'?"),
    ("embedder: x\n", "Did you mean 'ingest.embedder'?"),
    ("finetune:\n  rank: 0\n", "phi3kit.yaml:2: 'finetune.rank': expected a whole number >= 1"),
    ("finetune:\n  micro_batch_tokens: 0\n", "phi3kit.yaml:2: 'finetune.micro_batch_tokens': "
     "expected a whole number >= 1"),
    ("ingest:\n  store: ''\n", "phi3kit.yaml:2: 'ingest.store': the path is empty, as from a "
     "variable that is not set. Name a file or folder; the working folder is '.'"),
    ("ingest:\n  corpus: [a, '']\n", "'ingest.corpus': the path is empty, as from a variable"),
    ("ingest:\n  collection: ''\n", "'ingest.collection': expected text of length >= 3"),
    ("finetune:\n  epochs: three\n", "'finetune.epochs': expected a number, got text"),
    ("compare:\n  arms: [base, foo]\n", "phi3kit.yaml:2: 'compare.arms': there is no 'foo'. Take "
     "one of base, "),
    ("compare:\n  metric: luck\n", "'compare.metric': there is no 'luck'. Take one of score, "),
    ("compare:\n  weights: {speed: 1}\n", "phi3kit.yaml:2: 'compare.weights': there is no "
     "'speed'. Take one of quality, latency, cost, transparency, freshness"),
    ("compare:\n  judge: [1]\n", "'compare.judge': expected text or null, got a list"),
    ("model:\n  device: gpu\n", "Take one of auto, cpu, cuda, mps"),
    ("a: [\n", "phi3kit.yaml:2: not valid YAML"),
    ("model: 3\n", "'model': expected names with values"),
    ("model: phi-3-mini\n", "phi3kit.yaml:1: 'model': expected names with values, got text. "
     "Write model: {name: …}"),
    ("ingest: [docs]\n", "'ingest': expected names with values, got a list. Write ingest: {corp"),
    ("- x\n", "expected keys"),
    ("model: {name: a}\nruns: x\nmodel: {device: cpu}\n",
     "phi3kit.yaml:3: the section 'model' stands twice, first on line 1. Make one of the two"),
    ("runs: x\nruns: y\n", "phi3kit.yaml:2: the key 'runs' stands twice, first on line 1"),
    ("model:\n  name: a\n  name: b\n", "phi3kit.yaml:3: the key 'model.name' stands twice"),
])
def test_refused_by_name(project: Path, text: str, said: str) -> None:
    write(project, text)
    with pytest.raises(SettingsError) as error:
        settings.load()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_home_folder_stands_for_the_tilde_of_every_path(
        project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/mo")
    write(project, "runs: ~/runs\ningest:\n  store: ~/store\n  corpus: [~/docs, ./more/, ~$a.docx]"
                   "\n  embedder: ~/e5\nfinetune:\n  dataset: ~/train.jsonl\n")
    found = settings.load({"compare.questions": "~/q.jsonl", "compare.more_adapters": ("~/a",)})
    values = found.values
    assert values.ingest.corpus == ("/home/mo/docs", "./more/", "~$a.docx")
    assert values.ingest.store == "/home/mo/store" and found.sources["ingest.store"] == "file"
    assert (values.runs, values.finetune.dataset, values.compare.questions) == (
        "/home/mo/runs", "/home/mo/train.jsonl", "/home/mo/q.jsonl")
    assert values.compare.more_adapters == ("/home/mo/a",)
    assert values.ingest.embedder == "~/e5"  # a name, which may be a folder's


@pytest.mark.parametrize("text", ["", "ingest:\n  store: http://localhost:8000\n"])
def test_what_has_no_tilde_stays_as_it_was_written(project: Path, text: str) -> None:
    write(project, text)
    values = settings.load({"runs": "./runs/"}).values
    assert values.runs == "./runs/"
    assert values.ingest.store == ("http://localhost:8000" if text else ".phi3kit/store")


def test_which_settings_are_paths() -> None:
    assert paths() == {
        "runs", "ingest.corpus", "ingest.store", "ask.adapter", "finetune.dataset",
        "compare.questions", "compare.adapter_rag", "compare.more_adapters",
        "compare.more_adapters_rag", "compare.formats", "compare.general_questions",
        "advise.scenario"}
    said = {key for key, text in settings.keys().items()
            if re.search(r"\b(file|[Ff]olders?)\b", text)}
    at_a_hub_too = {"model.name", "ingest.embedder", "ask.rerank"}
    assert said - paths() == {*at_a_hub_too, "ingest.prune", "finetune.init"}


def test_a_section_that_is_none_is_refused_with_a_flag_of_it_too(project: Path) -> None:
    write(project, "model: phi-3-mini\n")
    with pytest.raises(SettingsError, match=r"phi3kit\.yaml:1: 'model': expected names"):
        settings.load({"model.device": "cpu"})


def test_what_an_anchor_brings_is_from_the_file(project: Path) -> None:
    write(project, "ask: &same\n  passages: 3\nfinetune:\n  <<: {rank: 8}\n  seed: 1\n")
    resolved = settings.load()
    assert resolved.values.finetune.rank == 8
    assert resolved.sources["finetune.rank"] == resolved.sources["finetune.seed"] == "file"


def test_a_bad_flag_is_named_as_a_flag(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"--rank: 'finetune\.rank'"):
        settings.load({"finetune.rank": 0})


def test_not_utf8_is_one_line(project: Path) -> None:
    (project / "phi3kit.yaml").write_bytes(b"model:\n  name: caf\xe9\n")
    with pytest.raises(SettingsError, match="not UTF-8"):
        settings.load()


def test_a_file_that_may_not_be_read_is_one_line(
        project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "finetune:\n  rank: 8\n")

    def refused(*args: object, **kwargs: object) -> str:  # root may read everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(SettingsError, match=r"^phi3kit\.yaml: cannot be read \(Permission denied"):
        settings.load()


def test_a_rate_without_a_dot_is_a_number(project: Path) -> None:
    write(project, "finetune:\n  learning_rate: 2e-4\n")
    assert settings.load().values.finetune.learning_rate == 2e-4


def test_an_empty_section_is_fine(project: Path) -> None:
    write(project, "model:\n")
    assert settings.load().values == settings.Settings()
