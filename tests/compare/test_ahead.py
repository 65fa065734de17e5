"""What would be found wrong after every arm has answered is found before any is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from phi3kit.compare.measurable import measurable
from phi3kit.compare.metrics import METRICS
from phi3kit.compare.sets import MACRO_F1
from phi3kit.compare.task import prepare
from phi3kit.errors import Phi3kitError, SettingsError
from phi3kit.records import Question
from phi3kit.settings import ModelSettings, Settings

PLAIN = {"id": "q1", "question": "Who?", "answers": ["Ann"]}
SOURCED = {**PLAIN, "source_ids": ["a.md"]}


def ready(folder: Path, *records: dict[str, Any], **compare: Any) -> Settings:
    path = folder / "q.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return msgspec.convert({"compare": {"questions": str(path), "arms": ["base", "rag"],
                                        **compare}}, Settings)


@pytest.mark.parametrize(("record", "gate", "takes"), [
    (SOURCED, "rag format_valid >= 0.9", "questions that name a format"),
    (SOURCED, "base hit_at_k >= 0.5", "an arm that retrieves"),
    (SOURCED, "rag hit_at_k > base", "no answer of base can have hit_at_k"),
    (PLAIN, "rag hit_at_k >= 0.5", "questions that name their source_ids"),
    (PLAIN, "rag citation_recall >= 0.5", "questions that name their source_ids"),
    (SOURCED, "base fabricated_citations <= 0", "an arm that reads passages"),
    (SOURCED, "rag similarity >= 0.9", "compare.similarity"),
    (SOURCED, "rag label_accuracy >= 0.9", "a few labels"),
    (SOURCED, "rag label_macro_f1 >= 0.9", "a few labels"),
    (SOURCED, "rag abstention_recall >= 0.9", "questions without an answer"),
    (SOURCED, "rag term_recall >= 0.9", "questions that name their terms"),
])
def test_a_gate_on_what_no_answer_can_have(tmp_path: Path, record: dict[str, Any], gate: str,
                                           takes: str) -> None:
    with pytest.raises(SettingsError) as caught:
        prepare(ready(tmp_path, record, gate=[gate]))
    assert str(caught.value).startswith(f'compare.gate "{gate}": no answer of ')
    assert takes in str(caught.value)


def test_with_what_it_takes_it_is_let_through(tmp_path: Path) -> None:
    formats = tmp_path / "formats.yaml"
    formats.write_text("name: {regex: '[A-Z][a-z]+'}", encoding="utf-8")
    records = [{**SOURCED, "id": str(at), "kind": "who", "format": "name", "terms": ["Ann"]}
               for at in range(4)] + [{"id": "none", "question": "Why?", "answerable": False}]
    everything = [f"rag {name} >= 0.1" for name in (*METRICS, MACRO_F1)]
    prepare(ready(tmp_path, *records, gate=everything, formats=str(formats), similarity=True))


def test_what_can_be_measured_follows_what_is_measured() -> None:
    asked = (Question("q", "Who?", ("Ann",), ("a.md",)),)
    base, rag = (measurable(arm, asked, {}, similarity=False) for arm in ("base", "rag"))
    assert rag - base == {"hit_at_k", "citation_precision", "citation_recall",
                          "fabricated_citations", "unsupported_numbers"}
    assert {"score", "token_f1", "contains", "abstention", "abstention_precision"} <= base


@pytest.mark.parametrize(("compare", "says"), [
    ({"judge": "http://127.0.0.1:9/v1"}, "compare.judge_model: the judge's model is not named"),
    ({"judge": "localhost", "judge_model": "m"}, "compare.judge: 'localhost' is no URL"),
    ({"general_questions": "none.jsonl"}, "none.jsonl: there is no such file. Name the file with "
                                          "compare.general_questions"),
    ({"arms": ["base"]}, "compare.arms: one arm alone cannot be compared. Name two or more of"),
])
def test_what_else_is_told_before(tmp_path: Path, compare: dict[str, Any], says: str) -> None:
    with pytest.raises(Phi3kitError) as caught:
        prepare(ready(tmp_path, SOURCED, **compare))
    assert str(caught.value).startswith(says)


def test_a_server_is_checked_before_its_url_is_recorded(tmp_path: Path) -> None:
    server = ModelSettings(endpoint="https://me:s3cret@host/v1")
    with pytest.raises(Phi3kitError, match=r"model\.endpoint: the URL carries a password"):
        prepare(msgspec.structs.replace(ready(tmp_path, SOURCED), model=server))


@pytest.mark.parametrize(("flags", "code", "says"), [
    (("--gate", "nonsense"), 2, 'compare.gate "nonsense": this is no condition'),
    (("--gate", "rag luck >= 0.1"), 2, "there is no metric 'luck'"),
    (("--gate", "both score >= 0.1"), 2, "both does not run"),
    (("--gate", "rag format_valid >= 0.1"), 2, "no answer of rag can have format_valid"),
    (("--metric", "luck"), 2, "there is no 'luck'. Take one of score, token_f1"),
    (("--questions", "none.jsonl"), 1, "none.jsonl: there is no such file"),
])
def test_wrong_usage_is_told_from_a_gate_that_failed(run_cli: Callable, tmp_path: Path, code: int,
                                                     flags: tuple[str, ...], says: str) -> None:
    ready(tmp_path, SOURCED)
    done = run_cli("compare", "--questions", "q.jsonl", "--arms", "base,rag", *flags)
    assert done.returncode == code
    assert says in done.stderr and done.stderr.count("\n") == 1
