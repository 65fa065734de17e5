"""Answers that a kept comparison counts and that are no longer in its run folder."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from phi3kit.errors import RunError
from phi3kit.records import Row


def refuse_gaps(run: Path, summaries: Iterable[Mapping[str, Any]], rows: Iterable[Row]) -> None:
    """Stop when an arm lacks rows of what its summary counts: a line was lost.

    Each question has to stand there as often as every other one.

    Args:
        run: the run folder.
        summaries: of each arm, as result.json has them: `arm` and `questions`.
        rows: all that rows.jsonl holds.

    Raises:
        RunError: names the arms, and how many answers there should be.
    """
    there: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        there[row.arm][row.question_id] += 1
    lacking = []
    for arm in summaries:
        times = there[arm["arm"]]
        wanted = max(times.values(), default=1) * int(arm["questions"])
        if times.total() != wanted:
            lacking.append(f"{times.total()} of {arm['arm']} instead of {wanted}")
    if lacking:
        raise RunError("rows.jsonl does not hold the answers that result.json counts: there are "
                       f"{', '.join(lacking)}", where=str(run),
                       mend="Run phi3kit compare again: it asks for what is missing")
