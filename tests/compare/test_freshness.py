"""Facts change in a copy, every arm is asked again, and what the user has stays as it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from phi3kit.compare import freshness as room
from phi3kit.compare.arms import Bench
from phi3kit.compare.edits import Edit
from phi3kit.compare.intervals import Method
from phi3kit.compare.outcomes import freshness_of, outcome
from phi3kit.compare.run import compare, load_comparison
from phi3kit.compare.task import prepare
from phi3kit.errors import RunError, SettingsError
from phi3kit.files import sha256_file
from phi3kit.ingest import client, store
from phi3kit.ingest.reconcile import ingest
from phi3kit.models.packaged import minilm
from phi3kit.records import Answer, Comparison, Freshness, Question, Row
from phi3kit.report.comparison_text import findings
from phi3kit.settings import (
    AskSettings,
    CompareSettings,
    IngestSettings,
    ModelSettings,
    Settings,
)
from three_documents import DOCUMENTS, QUESTIONS

CRANE = Edit(Question("c1", "How much?", ("12 tonnes", "12 t"), ("crane.md",)), "docs/crane.md",
             "12 tonnes", "57 tonnes", ("12 tonnes", "12 t"), ("57 tonnes", "57 t"))
GATE = Edit(Question("g1", "How often?", ("seven days",), ("gate.md",)), "docs/gate.md",
            "seven days", "nine days", ("seven days",), ("nine days",))


@pytest.mark.parametrize(("output", "found"), [
    ("It lifts 57 tonnes [1].", "updated"), ("57 t", "updated"), ("12 tonnes.", "outdated"),
    ("Not 12 tonnes but 57 tonnes.", "outdated"), ("I do not know.", "neither"),
    ("112 tonnes", "neither"), ("", "neither"),
])
def test_which_fact_an_answer_has(output: str, found: str) -> None:
    assert outcome(output, CRANE) == found


def row(arm: str, edit: Edit, output: str, error: str = "") -> Row:
    return Row(arm, edit.question.id, "", "", "", (), output, False, (), (), (), (), 1, 1, 0.1, {},
               error)


def test_shares_by_arm_with_an_error_as_neither() -> None:
    rows = [row("base", CRANE, "12 tonnes"), row("base", GATE, "nine days", error="timed out"),
            row("rag", CRANE, "57 tonnes"), row("rag", GATE, "every nine days")]
    found = freshness_of(rows, [CRANE, GATE], ("base", "rag"), Method(0.95, 1000, 0), chunks=2,
                         seconds=0.5, tune_seconds=90.0)
    base, rag = found.arms
    assert (base.updated.mean, base.outdated.mean, base.neither.mean) == (0, 0.5, 0.5)
    assert (rag.updated.mean, rag.outdated.mean, rag.neither.mean) == (1, 0, 0)
    assert (found.facts, found.documents) == (2, 2)
    assert found.sentence == (
        "Of 2 facts changed after training, so many are answered as they are now: rag 100%, "
        "base 0%. Ingesting the 2 changed documents took 0.5 s (2 chunks "
        "embedded); training took 90 s.")


@pytest.fixture
def stored(project: Path, tiny_phi3: Path, adapter: Path) -> Settings:
    """Four arms over a real collection of three documents, one of them a web page."""
    for name, text in DOCUMENTS.items():
        path = project / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (project / "docs/crane.md").rename(project / "docs/crane.html")
    (project / "docs/crane.html").write_text(
        f"<html><body><h1>Crane</h1><p>{DOCUMENTS['docs/crane.md']}</p></body></html>")
    questions = [{**q, "source_ids": [s.replace("crane.md", "crane.html")
                                      for s in q.get("source_ids", ())]} for q in QUESTIONS]
    (project / "questions.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))
    settings = Settings(
        model=ModelSettings(name=str(tiny_phi3), device="cpu", dtype="float32"),
        ingest=IngestSettings(corpus=("docs",)),
        ask=AskSettings(adapter=str(adapter), max_new_tokens=4, passages=1, instruction="Answer."),
        compare=CompareSettings(questions="questions.jsonl", resamples=1000, batch_tokens=300,
                                freshness=2))
    ingest(settings)
    return settings


def everything(*folders: str) -> dict[str, str]:
    return {str(path): sha256_file(path) for folder in folders
            for path in sorted(Path(folder).rglob("*")) if path.is_file()}


_OUTDATED = "It lifts 12 tonnes, needs marine grease number four, is seen to every seven days."
Asked = list[tuple[str, str]]


@pytest.fixture
def readers_read(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Arms that say what they read, word for word, or else know nothing; and what was asked."""
    asked: Asked = []

    def reads(bench: Bench, arm: str, questions: Sequence[str],
              on_answers: Callable[[list[int], list[Answer]], None]) -> None:
        for at, question in enumerate(questions):
            asked.append((arm, question))
            passages = (bench.readers["search"].retrieve([question], 1, -1.0)[0]
                        if arm in ("rag", "both") else ())
            text = passages[0].text if passages else _OUTDATED
            on_answers([at], [Answer(question=question, text=text, abstained=False, citations=(),
                                     removed_citations=(),
                                     passages=passages, tokens_in=1, tokens_out=1, seconds=0.0)])

    monkeypatch.setattr(room, "answer", reads)
    return asked


def conditions(run: Path) -> dict[str, object]:
    """What the arms of a run shared."""
    found: dict[str, object] = json.loads((run / "conditions.json").read_text())
    return found


def measured(found: Comparison) -> Freshness:
    assert found.freshness is not None
    return found.freshness


@pytest.mark.model
def test_arms_that_read_follow_and_others_stay_behind(
        stored: Settings, readers_read: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    # Answering comes first: Chroma may write to its index whenever it is searched.
    without = replace(stored, compare=replace(stored.compare, freshness=0))
    assert compare(without).freshness is None
    before = everything("docs", stored.ingest.store)
    found = compare(stored)
    assert everything("docs", stored.ingest.store) == before
    record = measured(found)
    assert (record.facts, record.documents, record.tune_seconds) == (2, 2, None)
    assert record.chunks == 2
    assert record.seconds > 0
    by = {arm.arm: arm for arm in record.arms}
    assert {name: (arm.updated.mean, arm.outdated.mean) for name, arm in by.items()} == {
        "base": (0, 1), "rag": (1, 0), "finetune": (0, 1), "both": (1, 0)}
    run = Path(found.run)
    assert not list(run.glob(".freshness-*"))
    assert load_comparison(run).freshness == record
    assert '"freshness"' not in (run / "result.json").read_text()
    said = dict(findings(found))["What when facts change?"]
    assert any(line.startswith("rag: 100% ") for line in said)
    # Other facts are asked about anew.
    readers_read.clear()
    other = replace(stored, compare=replace(stored.compare, freshness=1))
    assert measured(compare(other)).facts == 1
    assert len(readers_read) == 4
    assert sorted(len(file.read_text().splitlines())
                  for file in run.glob("freshness-*.jsonl")) == [4, 8]
    readers_read.clear()
    again = measured(compare(stored))
    assert again == record and readers_read == []
    # Nothing is asked or ingested twice.
    readers_read.clear()
    monkeypatch.setattr(room, "_copied", lambda *_: pytest.fail("the store was copied again"))
    assert compare(stored).freshness == record
    assert readers_read == []
    assert compare(without).freshness is None
    assert load_comparison(run).freshness is None
    # What was answered stays good: without the record, and with another seed of the statistics.
    again = measured(compare(replace(stored, compare=replace(stored.compare, seed=7))))
    assert [arm.updated.mean for arm in again.arms] == [arm.updated.mean for arm in record.arms]
    assert (again.chunks, again.seconds) == (record.chunks, record.seconds)
    assert readers_read == []


@pytest.mark.model
def test_the_copy_is_updated_as_it_was_built(stored: Settings, readers_read: Asked,
                                             tmp_path: Path) -> None:
    """With flags of that ingest, of which the settings of a comparison know nothing."""
    shutil.copytree(minilm(), tmp_path / "embedder")
    config = tmp_path / "embedder/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "layer_norm_eps": 1e-6}))
    ingest(replace(stored, ingest=replace(
        stored.ingest, embedder=str(tmp_path / "embedder"), chunk_tokens=64)), rebuild=True)
    assert [arm.updated.mean for arm in measured(compare(stored)).arms] == [0, 1, 0, 1]


@pytest.mark.model
def test_only_the_copy_is_opened(stored: Settings, readers_read: Asked,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """For Chroma writes to a store whenever a process opens it."""
    run = Path(compare(stored).run)
    (run / "freshness.json").unlink()
    connect, opened = store.connect, []

    def spy(site: Path) -> object:
        opened.append(site)
        return connect(site)

    for module in (client, store):
        monkeypatch.setattr(module, "connect", spy)
    assert room.measure_freshness(prepare(stored), run, conditions(run)) is not None
    assert opened
    assert all(run in site.parents for site in opened)


@pytest.mark.model
def test_other_conditions_and_a_changed_collection_are_refused(
        stored: Settings, readers_read: Asked) -> None:
    run = Path(compare(stored).run)
    (run / "freshness.json").unlink()
    readers_read.clear()
    with pytest.raises(RunError, match="'base' would run with another checkpoint"):
        room.measure_freshness(prepare(stored), run, {**conditions(run), "checkpoint": "other"})
    assert readers_read == []
    Path("docs/winch.md").write_text("The winch needs marine grease number four. Daily.")
    ingest(stored)
    with pytest.raises(RunError, match="not the one that the arms answered from"):
        room.measure_freshness(prepare(stored), run, conditions(run))
    assert not list(run.glob(".freshness-*"))


@pytest.mark.model
def test_an_interrupted_measurement_goes_on(stored: Settings, readers_read: Asked,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    whole, told = room.answer, iter(range(2))

    def stopping(bench: Bench, arm: str, questions: Sequence[str],
                 on_answers: Callable[[list[int], list[Answer]], None]) -> None:
        if next(told, None) is None:
            raise KeyboardInterrupt
        whole(bench, arm, questions, on_answers)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(room, "answer", stopping)
        with pytest.raises(KeyboardInterrupt):
            compare(stored)
    assert {arm for arm, _ in readers_read} == {"base", "rag"}
    readers_read.clear()
    assert [arm.updated.mean for arm in measured(compare(stored)).arms] == [0, 1, 0, 1]
    assert {arm for arm, _ in readers_read} == {"finetune", "both"}


@pytest.mark.model
def test_the_real_arms_answer(stored: Settings) -> None:
    record = measured(compare(stored))
    assert [arm.arm for arm in record.arms] == ["base", "rag", "finetune", "both"]
    for arm in record.arms:
        assert arm.updated.mean + arm.outdated.mean + arm.neither.mean == pytest.approx(1)


def test_what_cannot_be_measured_is_said_first(settings: Settings) -> None:
    wanted = replace(settings, compare=replace(settings.compare, freshness=2))
    served = replace(wanted, ingest=replace(wanted.ingest, store="http://localhost:8000"))
    with pytest.raises(SettingsError, match=r"server is not copied"):
        compare(served)
    closed = replace(wanted, compare=replace(wanted.compare, arms=("base", "finetune")))
    with pytest.raises(SettingsError, match=r"Add rag or both"):
        compare(closed)
