"""The advice as a file: the prediction that a comparison confirms or refutes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phi3kit.errors import DataError
from phi3kit.files import json_text, write_named
from phi3kit.parsing import read_json
from phi3kit.records import OPTIONS, Advice, as_json

DEFAULT_PATH = ".phi3kit/prediction.json"


def write_prediction(advice: Advice, path: Path) -> None:
    """Write the advice as JSON, whole or not at all.

    Raises:
        DataError: the file cannot be written there.
    """
    write_named(path, json_text(as_json(advice)), mend="Name another file with --save")


def read_prediction(path: Path) -> Mapping[str, Any]:
    """The advice that `write_prediction` (or `advise --json`) wrote.

    Raises:
        DataError: unreadable, without a valid `recommendation` and `decided`, or with another
            field that a report of the comparison could not show.
    """
    mend = "Write it anew with `phi3kit advise`"
    try:
        advice = read_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"no prediction can be read ({error.strerror})", where=str(path),
                        mend=mend) from error
    except ValueError as error:
        raise DataError(f"not valid JSON ({error})", where=str(path), mend=mend) from error
    if not isinstance(advice, dict) or advice.get("recommendation") not in OPTIONS:
        raise DataError(f"'recommendation' must be one of {', '.join(OPTIONS)}",
                        where=str(path), mend=mend)
    if not isinstance(advice.get("decided"), bool):
        raise DataError("'decided' must be true or false", where=str(path), mend=mend)
    if wrong := _cannot_be_shown(advice):
        raise DataError(wrong, where=str(path), mend=mend)
    return advice


def _cannot_be_shown(advice: Mapping[str, Any]) -> str:
    """Which of the fields that may be missing is there and not what it should be; "" if none."""
    sure = advice.get("confidence")
    if sure is not None and not _is_share(sure):
        return "'confidence' must be a number, 0 to 1"
    if advice.get("scenario") is not None and not isinstance(advice["scenario"], dict):
        return "'scenario' must be an object of answers"
    reasons = advice.get("reasons") or []
    if not isinstance(reasons, list):
        return "'reasons' must be a list"
    for number, reason in enumerate(reasons, start=1):
        if not isinstance(reason, dict) or not isinstance(reason.get("statement"), str):
            return f"reason {number} must be an object with a text as 'statement'"
        because = reason.get("because") or []
        if not isinstance(because, list) or not all(isinstance(part, str) for part in because):
            return f"'because' of reason {number} must be a list of texts"
    return ""


def _is_share(value: Any) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool)
            and math.isfinite(value) and 0 <= value <= 1)
