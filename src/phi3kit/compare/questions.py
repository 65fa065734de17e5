"""Held-out questions: JSON Lines in, checked records out."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from phi3kit.compare.formats import MEND
from phi3kit.errors import DataError
from phi3kit.parsing import read_json
from phi3kit.progress import note
from phi3kit.records import Question

FIELDS = ("id", "question", "answers", "source_ids", "answerable", "kind", "format",
          "terms")


def read_questions(path: Path, formats: Collection[str] | None = None, *,
                   name: str = "--questions") -> tuple[Question, ...]:
    """The questions of a JSON Lines file, in its order; blank lines are passed over.

    Keys that are not ours are ignored, and named once on stderr.

    Args:
        path: the file.
        formats: names that `format` may have; None: it is not looked at.
        name: flag or setting that the file is given with, for the message where it is missing.

    Raises:
        DataError: the file is missing, empty or not UTF-8, or a line is not a question; names
            the line and the field.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError("there is no such file", where=str(path),
                        mend=f"Name the file with {name}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read as UTF-8 text ({error})", where=str(path)) from error
    questions: list[Question] = []
    first_line: dict[str, int] = {}
    unknown: set[str] = set()
    # Not splitlines(): JSON may hold U+2028 and its like unescaped.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        record = record_of(line, where)
        unknown |= record.keys() - set(FIELDS)
        question = _question(record, where)
        if formats is not None and question.format and question.format not in formats:
            raise DataError(f"field 'format': '{question.format}' is described nowhere",
                            where=where,
                            mend=f"Describe it in the file compare.formats. {MEND}")
        if question.id in first_line:
            raise DataError(f"the id '{question.id}' stands on line {first_line[question.id]} too",
                            where=where, mend="Give each question an id of its own")
        first_line[question.id] = number
        questions.append(question)
    if not questions:
        raise DataError("there are no questions in it", where=str(path),
                        mend='Write one per line: {"id": …, "question": …, "answers": […]}')
    if unknown:
        note(f"{path}: ignored {', '.join(sorted(unknown))} (not among {', '.join(FIELDS)})")
    return tuple(questions)


def record_of(line: str, where: str) -> dict[str, Any]:
    """The JSON object of a line; a DataError names `where` when it holds none."""
    try:
        record = read_json(line)
    except ValueError as error:
        raise DataError(f"not valid JSON ({error})", where=where,
                        mend="Write one JSON object per line") from error
    if not isinstance(record, dict):
        raise DataError("expected a JSON object", where=where,
                        mend="Write one JSON object per line")
    return record


def _question(record: dict[str, Any], where: str) -> Question:
    answers = _texts(record, "answers", where)
    answerable = record.get("answerable", True)
    if not isinstance(answerable, bool):
        raise DataError("field 'answerable' must be true or false", where=where)
    if answerable and not answers:
        raise DataError("field 'answers' is empty but the question is answerable", where=where,
                        mend="Give at least one answer, or set answerable to false")
    if answers and not answerable:
        raise DataError("field 'answers' must be empty when answerable is false", where=where)
    return Question(id=_identity(record, where), question=_text(record, "question", where),
                    answers=answers, source_ids=_texts(record, "source_ids", where),
                    answerable=answerable, kind=_label(record, "kind", where),
                    format=_label(record, "format", where),
                    terms=_texts(record, "terms", where))


def _label(record: dict[str, Any], name: str, where: str) -> str:
    value = record.get(name) or ""
    if not isinstance(value, str):
        raise DataError(f"field '{name}' must be text", where=where)
    return value


def _identity(record: dict[str, Any], where: str) -> str:
    value = record.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(record, "id", where)


def _text(record: dict[str, Any], name: str, where: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"field '{name}' must be text and not empty", where=where)
    return value.strip()


def _texts(record: dict[str, Any], name: str, where: str) -> tuple[str, ...]:
    value = record.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value):
        raise DataError(f"field '{name}' must be a list of texts", where=where,
                        mend=f'Write "{name}": ["…"]')
    return tuple(v.strip() for v in value)
