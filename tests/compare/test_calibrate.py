"""The threshold: what is chosen, its price, and what cross-validation makes of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from phi3kit import settings
from phi3kit.compare import calibrate as module
from phi3kit.compare.calibrate import _Asked, _folds, calibrate, choose
from phi3kit.errors import DataError, SettingsError


def asked(answerable: list[float], unanswerable: list[float]) -> list[_Asked]:
    return [*(_Asked(s, True, f"a{i}") for i, s in enumerate(answerable)),
            *(_Asked(s, False, f"u{i}") for i, s in enumerate(unanswerable))]


def test_the_middle_of_the_gap_is_chosen():
    assert choose(asked([0.6, 0.7, 0.8], [0.1, 0.2, 0.3]), 0.0) == pytest.approx(0.45)


def test_the_limit_holds_even_where_more_would_be_gained():
    mixed = asked([0.3, *[0.8] * 9], [0.2, *[0.4] * 9])
    assert choose(mixed, 0.0) == pytest.approx(0.25)
    assert choose(mixed, 0.1) == pytest.approx(0.60)


@pytest.mark.parametrize("limit", [0.0, 0.05, 0.3, 1.0])
def test_no_threshold_of_the_grid_is_better(limit: float):
    rng = random.Random(1)
    all_ = asked([rng.gauss(0.6, 0.15) for _ in range(60)], [rng.gauss(0.4, 0.15)
                                                           for _ in range(40)])

    def shares(at: float) -> tuple[float, float]:
        return (sum(a.similarity < at for a in all_ if not a.answerable) / 40,
                sum(a.similarity < at for a in all_ if a.answerable) / 60)

    best = max(refused - wrongly for at in range(-100, 101)
               for refused, wrongly in [shares(at / 100)] if wrongly <= limit)
    refused, wrongly = shares(choose(all_, limit))
    assert refused - wrongly == pytest.approx(best) and wrongly <= limit


def test_where_nothing_tells_them_apart_nothing_is_refused():
    assert choose(asked([0.2] * 10, [0.9] * 10), 0.5) <= 0.2


def test_a_document_stays_in_one_fold_and_each_fold_has_both_kinds():
    many = [_Asked(0.5, True, f"d{i % 15}") for i in range(60)]
    few = [_Asked(0.5, False, f"u{i}") for i in range(20)]
    folds = _folds([*many, *few])
    for cluster in range(15):
        assert len({fold for fold, one in zip(folds, many, strict=False)
                    if one.cluster == f"d{cluster}"}) == 1
    assert set(folds[:60]) == set(folds[60:]) == set(range(10))


class Near:
    """A retriever whose similarities are given by the question's text."""

    fingerprint = "sha256:near"

    def similarities(self, questions: list[str]) -> list[float]:
        return [float(question) for question in questions]


def write(path: Path, answerable: list[float], unanswerable: list[float]) -> None:
    lines = [{"id": f"a{i}", "question": str(s), "answers": ["x"], "source_ids": [f"d{i}.md"]}
             for i, s in enumerate(answerable)]
    lines += [{"id": f"u{i}", "question": str(s), "answers": [], "answerable": False}
              for i, s in enumerate(unanswerable)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def near(project: Path, monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    monkeypatch.setattr(module, "open_retriever", lambda _: Near())
    return settings.load({"compare.questions": "q.jsonl", "compare.resamples": 1000}).values


def test_a_clear_gap_is_found_and_its_effect_is_that_of_other_documents(
        near: settings.Settings, project: Path):
    rng = random.Random(2)
    write(project / "q.jsonl", [rng.uniform(0.6, 0.9) for _ in range(40)],
          [rng.uniform(0.35, 0.5) for _ in range(30)])
    report = calibrate(near)
    assert 0.51 <= report.chosen <= 0.6
    # Thirty times nothing is no proof of never: 1 - 0.025 ** (1 / 30).
    assert report.effect_today.refused.mean == report.effect_today.refused.low == 0
    assert report.effect_today.refused.high == pytest.approx(1 - 0.025 ** (1 / 30))
    assert report.effect_chosen.refused.mean > 0.9
    assert report.effect_chosen.wrongly_refused.mean <= 0.05
    assert report.p < 0.001
    assert report.verdict == "better" and report.gain.mean == pytest.approx(
        report.effect_chosen.balanced_accuracy.mean - 0.5)
    assert report.effect_chosen.balanced_accuracy.mean == pytest.approx(
        (report.effect_chosen.refused.mean + 1 - report.effect_chosen.wrongly_refused.mean) / 2)
    point = next(p for p in report.points if p.threshold == report.chosen)
    assert (point.refused, point.wrongly_refused) == (1.0, 0.0)


def test_noise_gives_no_gain_however_well_it_fits(near: settings.Settings, project: Path):
    """Where both kinds are alike, the best threshold looks good only on its own questions."""
    rng = random.Random(3)
    write(project / "q.jsonl", [rng.uniform(0.3, 0.9) for _ in range(40)],
          [rng.uniform(0.3, 0.9) for _ in range(20)])
    report = calibrate(near, 1.0)
    own = next(p for p in report.points if p.threshold == report.chosen)
    assert (own.refused + 1 - own.wrongly_refused) / 2 > (
        report.effect_chosen.balanced_accuracy.mean)
    assert report.verdict != "better"


def test_too_few_of_a_kind_and_a_limit_that_is_no_share_are_refused(
        near: settings.Settings, project: Path):
    write(project / "q.jsonl", [0.5] * 9, [0.5] * 4)
    with pytest.raises(DataError, match="4 unanswerable questions are too few"):
        calibrate(near)
    with pytest.raises(SettingsError, match="--max-refused"):
        calibrate(near, 1.5)
    with pytest.raises(SettingsError, match="--questions"):
        calibrate(settings.load().values)


@pytest.mark.model
def test_on_the_command_line_the_line_for_the_file_is_printed(project: Path, run_cli):
    (project / "docs").mkdir()
    parts = ("seal", "winch", "gate", "crane", "lamp", "pump")
    for part in parts:
        (project / "docs" / f"{part}.md").write_text(
            f"# {part}\n\nThe {part} of the north yard is checked on Mondays.\n")
    away = ("What is the capital of Mongolia?", "Who wrote Hamlet?", "How old is the universe?",
            "Which team won the cup?", "What does a sonnet rhyme on?")
    lines = [{"id": p, "question": f"When is the {p} of the north yard checked?",
              "answers": ["on Mondays"], "source_ids": [f"{p}.md"]} for p in parts]
    lines += [{"id": q, "question": q, "answers": [], "answerable": False} for q in away]
    (project / "q.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run_cli("ingest", "docs", cwd=project).returncode == 0
    arguments = ("evaluate-retrieval", "--questions", "q.jsonl", "--calibrate")
    told = json.loads(run_cli(*arguments, "--json", cwd=project).stdout)
    assert told["effect_chosen"]["refused"]["mean"] == 1
    assert told["effect_chosen"]["wrongly_refused"]["mean"] == 0
    shown = run_cli(*arguments, cwd=project)
    assert f"ask:\n  min_similarity: {told['chosen']:.2f}" in shown.stdout
    # What the threshold promises is what the search does.
    (project / "phi3kit.yaml").write_text(f"ask:\n  min_similarity: {told['chosen']:.2f}\n")
    off = run_cli("search", away[0], cwd=project)
    assert "does not know" in off.stderr
    wrong = run_cli("evaluate-retrieval", "--max-refused", "0.1", cwd=project)
    assert wrong.returncode == 2
