"""What a run folder keeps of an earlier call, and what a later one does over."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from phi3kit import runs
from phi3kit.compare import run as room
from phi3kit.compare.results import row_of
from phi3kit.compare.rows import RowFile
from phi3kit.compare.run import compare, load_comparison
from phi3kit.compare.sheets import Sheet
from phi3kit.models import generate
from phi3kit.records import Answer, Question
from phi3kit.report.comparison_text import findings
from phi3kit.settings import Settings
from three_documents import Words

QUESTION = Question("q1", "How long?", ("four",))


def changed(settings: Settings, section: str, **values: object) -> Settings:
    inner = msgspec.structs.replace(getattr(settings, section), **values)
    return msgspec.structs.replace(settings, **{section: inner})


@pytest.mark.parametrize(("tokens", "error", "again"), [
    (12, "Error code: 429 - rate limit", True), (12, "", False),
    (0, "the question needs …", False)])
def test_a_prompt_that_got_no_answer_is_asked_again(
        tmp_path: Path, tokens: int, error: str, again: bool) -> None:
    path = tmp_path / "rows.jsonl"
    RowFile(path).append([row_of("rag", QUESTION, Answer(
        "", "", False, (), (), (), tokens, 0, 0.1, error))])
    sheet = Sheet("", ("rag",), (QUESTION,), RowFile(path))
    assert sheet.missing() == {("rag", 0): [QUESTION] if again else []}


def test_the_last_row_of_a_question_is_the_one_that_counts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = row_of("rag", QUESTION, Answer("", "", False, (), (), (), 12, 0, 0.1, "busy"))
    RowFile(path).append([row])
    RowFile(path).append([dataclasses.replace(row, output="four", error="")])
    assert [found.output for found in RowFile(path).rows.values()] == ["four"]


def test_what_failed_for_a_passing_reason_is_asked_again(
        settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, times = generate.LocalGenerator.generate, iter((True,))

    def failing(self: Any, prompts: Sequence[Any], **how: Any) -> Any:
        if how["max_new_tokens"] != settings.ask.max_new_tokens or not next(times, False):
            return answer(self, prompts, **how)
        lost = [generate.Generation("", 9, 0, 0.0, "out of memory") for _ in prompts]
        how["on_batch"](list(range(len(prompts))), lost)
        return lost

    monkeypatch.setattr(generate.LocalGenerator, "generate", failing)
    first = compare(settings)
    assert [arm.errors for arm in first.arms] == [5, 0, 0, 0]
    assert ("5 answers failed and count as wrong; to run compare again asks for them again, but "
            "for questions that are too long.") in dict(findings(first))["How sure is that?"]
    second = compare(settings)
    assert (second.run, second.reused_rows) == (first.run, 15)
    assert [arm.errors for arm in second.arms] == [0, 0, 0, 0]
    assert load_comparison(Path(second.run)).verdict == second.verdict


def state(run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(run) / "run.json").read_text(encoding="utf-8"))
    return found


def test_the_settings_are_those_of_the_last_analysis(settings: Settings) -> None:
    first = state(compare(settings).run)
    again = compare(changed(settings, "compare", metric="contains", margin=0.1))
    second = state(again.run)
    assert second["settings"]["values"]["compare"]["metric"] == again.verdict.metric == "contains"
    assert second["settings"]["values"]["compare"]["margin"] == 0.1
    for name in ("inputs", "created", "versions", "machine"):
        assert second[name] == first[name]
    assert "later" not in second


def test_versions_and_machine_of_added_answers_are_added(
        settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = state(compare(changed(settings, "compare", arms=("base", "rag", "finetune"))).run)
    monkeypatch.setattr(runs, "machine", lambda: {"processor": "another"})
    compare(changed(settings, "compare", arms=("base", "rag", "finetune")))
    found = compare(settings)  # both is added
    second = state(found.run)
    assert found.run.endswith(first["key"][:12])
    assert (second["machine"], second["versions"]) == (first["machine"], first["versions"])
    assert [each["machine"] for each in second["later"]] == [{"processor": "another"}]


@pytest.mark.parametrize("order", [
    (("base", "full-context", "finetune"), ("base", "rag", "full-context", "finetune")),
    (("base", "rag", "finetune"), ("base", "full-context", "finetune"))])
def test_arms_that_search_and_arms_that_read_everything_share_a_run(
        settings: Settings, searcher: Any, order: Sequence[Any]) -> None:
    first, second = (compare(changed(settings, "compare", arms=arms)) for arms in order)
    assert second.run == first.run
    assert second.conditions["index"] == searcher.fingerprint
    third = compare(changed(settings, "compare", arms=("base", "full-context", "both")))
    assert (third.run, third.conditions["index"]) == (first.run, searcher.fingerprint)


class Embedder(Words):
    """Counts what it is asked for."""

    def __init__(self, fingerprint: str, used: list[str]) -> None:
        self.fingerprint, self._used = fingerprint, used

    def encode(self, texts: Sequence[str]) -> Any:
        self._used.append(self.fingerprint)
        return super().encode(texts)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], list[str]]]:
    """The fingerprint of the embedder, which may be changed, and those that were used."""
    now, used = ["one"], []
    monkeypatch.setattr(room, "open_embedder", lambda _: Embedder(now[0], used))
    yield now, used


def test_similarity_is_measured_anew_by_another_embedder(
        settings: Settings, named: tuple[list[str], list[str]]) -> None:
    now, used = named
    wanted = changed(settings, "compare", similarity=True)
    for fingerprint, asked in (("one", ["one"]), ("one", ["one"]), ("two", ["one", "two"]),
                               ("two", ["one", "two"])):
        now[0] = fingerprint
        run = Path(compare(wanted).run)
        assert used == asked
        assert json.loads((run / "similarity.json").read_text()) == {"embedder": fingerprint}
    (run / "similarity.json").unlink()  # of a run before it was noted
    compare(wanted)
    assert used == ["one", "two", "two"]
