"""The questionnaire's course: one question at a time, skip, back, stop and go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from phi3kit.advise.scenario import FIELDS, Field


class Move(Enum):
    """What may be given instead of an answer."""

    SKIP = "skip"
    BACK = "back"
    REST = "rest"  # skip this and all that follow


class Interrupted(Exception):
    """The user stopped; `answers` holds what was answered until then."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__("stopped")
        self.answers = dict(answers)


# Asks one question: (field, its number from 1, how many there are, the answer it has now).
Ask = Callable[[Field, int, int, Any], Any]


def interview(ask: Ask, begun: Mapping[str, Any] | None = None,
              fields: Sequence[Field] = FIELDS,
              keep: Callable[[Mapping[str, Any]], None] | None = None) -> dict[str, Any]:
    """Ask every question of `fields`; returns field to value, None where it was skipped.

    Args:
        ask: asks one question; returns a value of the field or a `Move`.
        begun: answers given earlier; what they leave open is asked.
        fields: the questions; those whose answers are known otherwise are left out.
        keep: called with all answers so far after each.

    Raises:
        Interrupted: `ask` raised KeyboardInterrupt.
    """
    answers = dict(begun or {})
    at = _open(fields, answers)
    while at < len(fields):
        field = fields[at]
        try:
            given = ask(field, at + 1, len(fields), answers.get(field.name))
        except KeyboardInterrupt:
            raise Interrupted(answers) from None
        if given is Move.REST:
            break
        if given is Move.BACK:
            at = max(0, at - 1)
            continue
        answers[field.name] = None if given is Move.SKIP else given
        if keep is not None:
            keep(answers)
        at = _open(fields, answers, at + 1)
    return answers


def _open(fields: Sequence[Field], answers: Mapping[str, Any], start: int = 0) -> int:
    """The first question from `start` on that was neither answered nor skipped."""
    return next((at for at in range(start, len(fields)) if fields[at].name not in answers),
                len(fields))
