"""Costs through the run: measured once, kept with the answers, reckoned anew without a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from phi3kit.compare import run as room
from phi3kit.compare.costs import COSTS
from phi3kit.compare.run import compare, load_comparison
from phi3kit.compare.usage import USAGE, read_usage
from phi3kit.ingest.built import keep_built
from phi3kit.records import Comparison, Costs, IngestReport
from phi3kit.report.comparison_text import findings
from phi3kit.settings import Settings


def with_prices(settings: Settings, **chosen: object) -> Settings:
    return replace(settings, compare=replace(settings.compare, **chosen))


def costs(found: Comparison) -> Costs:
    assert found.costs is not None
    return found.costs


def test_a_run_measures_its_arms(settings: Settings, adapter: Path) -> None:
    report = IngestReport(settings.ingest.collection, settings.ingest.store, (), (), (), (), (),
                          3, 3, 0, 30, 1.25)
    keep_built(Path(settings.ingest.store), report)
    state = adapter.parent / "run.json"
    state.write_text(json.dumps({"kind": "finetune", "status": "complete", "inputs": {},
                                 "result": {"seconds": 12.5, "peak_memory_bytes": 99}}))
    try:
        found = compare(with_prices(settings, questions_per_month=1000, refreshes_per_month=1.0))
    finally:
        state.unlink()
    by = {arm.arm: arm for arm in costs(found).arms}
    assert list(by) == ["base", "rag", "finetune", "both"]
    assert costs(found).load_seconds
    for name, arm in by.items():
        own = [row for row in found.rows if row.arm == name]
        assert arm.tokens_in == sum(row.tokens_in for row in own) / 5
        assert arm.memory_bytes and arm.memory_bytes > 50 * 2**20
        assert arm.answers_per_second > 0
        assert arm.monthly is not None
        assert (arm.index_seconds, arm.train_seconds) == (
            1.25 if name in ("rag", "both") else None,
            12.5 if name in ("finetune", "both") else None)
    assert by["both"].monthly == pytest.approx(1000 / by["both"].answers_per_second + 13.75)
    assert load_comparison(Path(found.run)).costs == found.costs
    said = dict(findings(found))["What does an answer cost?"]
    assert any(line.startswith("At 1,000 questions and 1 refresh a month: base ")
               for line in said)


def test_other_prices_ask_no_question_anew(settings: Settings,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    first = compare(settings)
    run = Path(first.run)
    result, measured = (run / "result.json").read_bytes(), (run / USAGE).read_bytes()
    assert (costs(first).unit, costs(first).arms[0].monthly) == ("machine seconds", None)
    monkeypatch.setattr(room, "_open", lambda _: pytest.fail("a model was loaded"))
    again = compare(with_prices(settings, questions_per_month=7, price_per_hour=3600.0))
    assert again.run == first.run
    assert costs(again).unit == "USD"
    assert [arm.memory_bytes for arm in costs(again).arms] == [
        arm.memory_bytes for arm in costs(first).arms]
    assert costs(again).arms[0].monthly == pytest.approx(
        7 / costs(again).arms[0].answers_per_second)
    # What a clock decided stands in its own files.
    assert (run / "result.json").read_bytes() == result
    assert (run / USAGE).read_bytes() == measured
    assert "costs" not in json.loads(result)


def test_an_interrupted_run_adds_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from phi3kit.compare.rows import RowFile

    append, batches = RowFile.append, iter(range(4))

    def stopping(self: RowFile, rows: object) -> None:
        if next(batches, None) is None:
            raise KeyboardInterrupt
        append(self, rows)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(RowFile, "append", stopping)
        with pytest.raises(KeyboardInterrupt):
            compare(settings)
    run, = Path("runs").glob("compare-*")
    assert 0 < sum(used.answers for used in read_usage(run).arms.values()) < 20
    found = compare(settings)
    assert {arm: used.answers for arm, used in read_usage(Path(found.run)).arms.items()} == {
        "base": 5, "rag": 5, "finetune": 5, "both": 5}


def test_searching_is_measured_where_it_happens(settings: Settings) -> None:
    arms = read_usage(Path(compare(settings).run)).arms
    assert {arm: used.searched for arm, used in arms.items()} == {
        "base": 0, "rag": 5, "finetune": 0, "both": 0}
    assert arms["rag"].search_seconds > 0 == arms["both"].search_seconds


def test_a_run_of_before_costs_is_still_drawn(settings: Settings) -> None:
    found = compare(settings)
    for name in (COSTS, USAGE):
        (Path(found.run) / name).unlink()
    assert load_comparison(Path(found.run)).costs is None
    again = costs(compare(settings))
    assert (again.load_seconds, again.arms[0].memory_bytes) == (None, None)
    assert again.arms[0].answers_per_second > 0
