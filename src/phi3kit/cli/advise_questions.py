"""Asking one question of the questionnaire: with arrow keys, or line by line."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import Any

from phi3kit.advise.interview import Ask, Move
from phi3kit.advise.scenario import Field, read_answer
from phi3kit.errors import DataError

_SKIP, _BACK = "skip", "back"


def asker() -> Ask:
    """Arrow keys on a terminal; else numbered questions, an answer per line of stdin."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        return ask_with_keys
    return ask_by_line


def _say(field: Field, number: int, total: int) -> None:
    """The question, its help and example, wrapped to the terminal, on stderr."""
    width = max(30, min(78, shutil.get_terminal_size().columns - 2))
    head = textwrap.fill(f"({number}/{total}) {field.question}", width, subsequent_indent="  ")
    notes = [textwrap.fill(text, width, initial_indent="  ", subsequent_indent="  ")
             for text in (field.help, f"For example {field.example}")]
    print("\n".join(["", head, *notes]), file=sys.stderr)


def ask_with_keys(field: Field, number: int, total: int, now: Any) -> Any:
    """Ask with arrow keys (choices) or a typed number.

    Raises:
        KeyboardInterrupt: Ctrl-C, or Ctrl-D.
    """
    from prompt_toolkit.output import create_output

    _say(field, number, total)
    # Questions go to stderr, like all that is not the advice itself.
    output = create_output(stdout=sys.stderr)
    try:
        if field.kind in ("integer", "number"):
            return _ask_number(field, number, now, output)
        return _ask_choice(field, number, now, output)
    except EOFError:
        raise KeyboardInterrupt from None


def _ask_choice(field: Field, number: int, now: Any, output: Any) -> Any:
    import questionary
    from questionary import Choice

    choices = [Choice("yes" if value is True else "no" if value is False else str(value),
                      value=(value,)) for value in field.alternatives]
    if field.kind == "boolean":
        choices.reverse()
    choices.append(Choice("skip (I do not know)", value=Move.SKIP))
    if number > 1:
        choices.append(Choice("back", value=Move.BACK))
    default = next((c for c in choices if c.value == (now,)), None)
    given = questionary.select("", choices=choices, default=default, qmark="", pointer=">",
                               instruction="(arrow keys, Enter)", output=output).unsafe_ask()
    return given[0] if isinstance(given, tuple) else given


def _ask_number(field: Field, number: int, now: Any, output: Any) -> Any:
    import questionary

    def check(text: str) -> bool | str:
        if text.strip().casefold() in ("", _SKIP, _BACK):
            return True
        try:
            read_answer(field.name, text, where="")
        except DataError:
            return field.allowed
        return True

    # On a line of its own: in the prompt it would wrap into what is typed.
    print("  (number, Enter skips" + (", 'back')" if number > 1 else ")"), file=sys.stderr)
    text = questionary.text(">", default="" if now is None else f"{now}",
                            validate=check, qmark="", output=output).unsafe_ask()
    return _read(field, text)


def ask_by_line(field: Field, number: int, total: int, now: Any) -> Any:
    """Ask with a numbered list and read a line; at the end of the input the rest is skipped."""
    _say(field, number, total)
    words = [_word(value) for value in field.alternatives] if not field.probes else []
    listed = "  ".join(f"{i}) {word}" for i, word in enumerate(words, 1)) or field.allowed
    width = max(30, min(78, shutil.get_terminal_size().columns - 2))
    print(textwrap.fill(listed, width, initial_indent="  ", subsequent_indent="  "),
          file=sys.stderr)
    while True:
        print("  answer, empty to skip, 'back': ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            print("", file=sys.stderr)
            return Move.REST
        text = line.strip()
        if text.isdecimal() and words and 1 <= int(text) <= len(words):
            return field.alternatives[int(text) - 1]
        try:
            return _read(field, text)
        except DataError as error:
            print(f"  {error}", file=sys.stderr)


def _read(field: Field, text: str) -> Any:
    plain = text.strip().casefold()
    if plain in ("", _SKIP):
        return Move.SKIP
    if plain == _BACK:
        return Move.BACK
    value = read_answer(field.name, text, where=field.name)
    return Move.SKIP if value is None else value


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
