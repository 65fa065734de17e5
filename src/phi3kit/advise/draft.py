"""Answers given so far, kept so that an interrupted questionnaire goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phi3kit.advise.scenario import check_answers, read_scenario
from phi3kit.errors import DataError
from phi3kit.files import write_named

DRAFT_PATH = ".phi3kit/advise-draft.yaml"


def save_draft(answers: Mapping[str, Any], path: Path = Path(DRAFT_PATH)) -> None:
    """Write the answers as a scenario file; a skipped question stands as null."""
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in answers.items()]
    write_named(path, "# Answers so far; `phi3kit advise` goes on from here.\n" + "".join(lines),
                mend="Answer in a folder that you may write to")


def read_draft(path: Path = Path(DRAFT_PATH)) -> dict[str, Any]:
    """The answers of an interrupted questionnaire; empty when there are none to be used."""
    if not path.is_file():
        return {}
    try:
        answers = read_scenario(path)
        check_answers(answers)
    except DataError:
        return {}  # a damaged draft costs its answers, not the run
    return answers


def drop_draft(path: Path = Path(DRAFT_PATH)) -> None:
    """Remove the draft: its answers have become advice."""
    path.unlink(missing_ok=True)
