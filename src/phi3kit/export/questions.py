"""Held-out questions with their first right answer, as examples to measure on."""

from __future__ import annotations

import json
from pathlib import Path

from phi3kit.dataset.examples import Example


def answered_questions(path: Path) -> list[Example]:
    """The answerable questions of a file for `compare`, each with its first answer.

    Lines that are no questions, and files that hold none, give nothing: `compare` reports them.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            record = json.loads(line)
            question, answers = record["question"], record["answers"]
            # Of a text it would be the first letter.
            answer = answers[0] if isinstance(answers, list) else ""
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            continue
        if all(isinstance(part, str) and part.strip() for part in (question, answer)):
            found.append(Example((
                {"role": "user", "content": question.strip()},
                {"role": "assistant", "content": answer.strip()}), number))
    return found
