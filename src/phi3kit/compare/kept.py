"""Files of a run folder that hold what is measured beside the answers, and what a clock decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from phi3kit.errors import RunError
from phi3kit.parsing import read_json
from phi3kit.records import Freshness, LearningCurve

FRESHNESS = "freshness.json"
LEARNING = "learning.json"
T = TypeVar("T")


def read_freshness(run: Path) -> Freshness | None:
    """What was measured in a run folder; None where it was not.

    Raises:
        RunError: the file is damaged.
    """
    return _record(run, FRESHNESS, Freshness)


def read_learning(run: Path) -> LearningCurve | None:
    """As `read_freshness`."""
    return _record(run, LEARNING, LearningCurve)


def read_kept(run: Path, name: str) -> dict[str, Any]:
    """All that such a file holds; {} where there is none.

    Raises:
        RunError: the file is damaged.
    """
    try:
        found = read_json((run / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise _damaged(run, name, error) from error
    if not isinstance(found, dict):
        raise _damaged(run, name, ValueError("not an object"))
    return found


def _record(run: Path, name: str, kind: type[T]) -> T | None:
    record = read_kept(run, name).get("record")
    try:
        return msgspec.convert(record, kind) if record else None
    except msgspec.ValidationError as error:
        raise _damaged(run, name, error) from error


def _damaged(run: Path, name: str, error: Exception) -> RunError:
    return RunError(f"{name} cannot be read ({error})", where=str(run),
                    mend="Remove that file, and run compare again")
