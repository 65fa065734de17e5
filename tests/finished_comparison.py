"""A finished comparison on disk, made by compare's own analysis from scores that a test gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phi3kit import runs
from phi3kit.compare.results import ROWS, analyse, load_comparison, save
from phi3kit.compare.rows import RowFile
from phi3kit.records import Comparison, Option, Row
from phi3kit.settings import CompareSettings


def finished(root: Path, scores: Mapping[Option, Sequence[float]], *,
             seconds: Mapping[str, float] | None = None, adapter: str = "runs/finetune-1",
             advice: Mapping[str, Any] | None = None,
             compare: Mapping[str, Any] | None = None) -> Comparison:
    """The comparison in which each arm's answers to questions 0, 1, … had these scores.

    `compare` are settings of that section, such as weights.
    """
    run = runs.open_run(root, "compare", {"scores": {a: list(s) for a, s in scores.items()}},
                        settings={"compare.questions": {"value": "held out.jsonl"},
                                  "ask.adapter": {"value": adapter}})
    rows = [_row(arm, number, worth, (seconds or {}).get(arm, 1.0))
            for arm, worths in scores.items() for number, worth in enumerate(worths)]
    RowFile(run.path / ROWS).append(rows)
    save(analyse(rows, list(scores), CompareSettings(resamples=1000, **(compare or {})),
                 run=run.path, conditions={}, advice=advice))
    run.finish({"seconds": 1.0})
    return load_comparison(run.path)


def _row(arm: str, number: int, worth: float, seconds: float) -> Row:
    return Row(arm=arm, question_id=f"q{number}", kind="fact", cluster=f"d{number}.md",
               question=f"Question {number}?", gold=("yes",), output="yes", abstained=False,
               citations=(), removed_citations=(), passages=(), sources=(), tokens_in=10,
               tokens_out=1, seconds=seconds, metrics={"score": worth, "token_f1": worth})
