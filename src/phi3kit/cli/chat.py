"""A conversation with the documents: what `phi3kit ask` is without a question."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from phi3kit import progress
from phi3kit.cli.choices import as_text
from phi3kit.errors import Phi3kitError
from phi3kit.records import Answer, Message

if TYPE_CHECKING:
    from phi3kit.rag.assistant import Assistant

_COMMAND = re.compile(r"/[A-Za-z]*")
_HELP = """\
/sources  the passages behind the last answer, whole
/clear    forget what was said; the next question stands alone
/help     this
/quit     end, as does Ctrl-D
Ctrl-C stops an answer; Alt-Enter begins a new line."""


def chat(assistant: Assistant, *, closed_book: bool) -> None:
    """Ask and answer until the input ends; earlier turns go along with each question."""
    from phi3kit.report import terminal_answer

    history: list[Message] = []
    last: Answer | None = None
    read = _reader()
    progress.note("ask; /help tells more, Ctrl-D ends")
    while (line := read()) is not None:
        said = as_text(line.strip())
        # "/etc/hosts?" and "/sources of error" are questions.
        command = said.casefold() if _COMMAND.fullmatch(said) else ""
        if command in ("/quit", "/exit"):
            return
        if command == "/clear":
            history.clear()
            last = None
            progress.note("forgotten")
        elif command == "/sources":
            if last is None or not last.passages:
                progress.note("no passages stand behind an answer yet")
            else:
                terminal_answer.print_passages(last.passages)
        elif command:
            if command != "/help":
                progress.note(f"no command {said}")
            typer.echo(_HELP, err=True)
        elif said:
            answer = _answer(assistant, said, history, closed_book=closed_book)
            if answer is not None:
                last = answer
                terminal_answer.print_sources(answer, closed_book=closed_book)
                typer.echo("")


def _answer(assistant: Assistant, question: str, history: list[Message], *,
            closed_book: bool) -> Answer | None:
    """Stream one answer and keep the turn; None when it was stopped or failed."""
    from phi3kit.rag.citations import check
    from phi3kit.report import terminal_answer

    pieces = assistant.stream(question, tuple(history))
    try:
        for piece in pieces:
            terminal_answer.print_piece(piece)
    except KeyboardInterrupt:
        typer.echo("")
        progress.note("stopped")
        return None
    except Phi3kitError as error:
        typer.echo("")
        progress.note(terminal_answer.plain(str(error)))
        return None
    answer = assistant.last
    assert answer is not None
    # Without citations: passages are numbered anew in each turn.
    bare = check(answer.text, None if closed_book else ()).text
    history += [{"role": "user", "content": question},
                {"role": "assistant", "content": bare}]
    return answer


def _reader() -> Callable[[], str | None]:
    """Reads the next input; None at its end."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return lambda: sys.stdin.readline() or None
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.output import create_output

    keys = KeyBindings()
    keys.add("enter")(lambda event: event.current_buffer.validate_and_handle())
    keys.add("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
    # Like all that is not an answer, the prompt goes to stderr.
    session = PromptSession(
        "> ", multiline=True, key_bindings=keys, output=create_output(stdout=sys.stderr),
        prompt_continuation="  ")

    def read() -> str | None:
        while True:
            try:
                return str(session.prompt())
            except KeyboardInterrupt:
                continue  # the line is dropped, the conversation goes on
            except EOFError:
                return None

    return read
