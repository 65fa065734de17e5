"""Keeps the questions of `compare` out of the training examples."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from phi3kit.dataset.examples import Example
from phi3kit.records import Failure


def held_out(path: Path | None) -> dict[str, str]:
    """Normalised question to where it stands ("questions.jsonl:12"); empty without a file.

    Lines that are no questions are passed over: `compare`, whose file it is, reports them.
    """
    found: dict[str, str] = {}
    if path is None or not path.is_file():
        return found
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            question = json.loads(line)["question"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(question, str) and normalise(question):
            found.setdefault(normalise(question), f"{path}:{number}")
    return found


def without_held_out(examples: Sequence[Example], questions: dict[str, str], *,
                     where: str) -> tuple[list[Example], list[Failure]]:
    """The examples that ask none of the held-out `questions`, and a failure for the others.

    Args:
        questions: as `held_out` gives them.
        where: the examples' file, for the failures.
    """
    kept: list[Example] = []
    leaked: list[Failure] = []
    for example in examples:
        asked = (normalise(m["content"]) for m in example.messages if m["role"] == "user")
        at = next((questions[text] for text in asked if text in questions), None)
        if at is None:
            kept.append(example)
        else:
            leaked.append(Failure(f"{where}:{example.line}",
                                  f"asks the held-out question of {at}; left out. Remove it "
                                  "from one of the two files"))
    return kept, leaked


def normalise(text: str) -> str:
    """Letters and digits in lower case, compatibility forms folded, single spaces between."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split())
