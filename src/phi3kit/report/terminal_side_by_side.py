"""Runs side by side on the terminal: what changed first, then what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phi3kit.records import RunDifference, Shift, SideBySide
from phi3kit.report import comparison_text as words
from phi3kit.report import side_by_side_text as texts
from phi3kit.report.sections import Section, Table
from phi3kit.report.terminal_answer import plain

# The reports have more; here so many questions for each arm and direction.
_SHIFTS = 2
_ANSWER = 160
# Of 80 columns, those that values of settings share; figures in more than the second fold.
_ROOM = 60
_FIGURES = 45


def print_side_by_side(record: SideBySide, page: Path | None = None) -> None:
    """Print the verdicts, the tables, the questions that changed most, and where to look."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    said = Text(plain("\n".join([texts.heading(record), *texts.lead(record)])))
    console.print(Panel(said, title="side by side", title_align="left"))
    for run in record.runs:
        console.print(Text(plain(f"{run.label}  {run.run}")), soft_wrap=True)
        console.print(Padding(Text(plain(run.sentence)), (0, 0, 0, 3)))
    for section in texts.sections(record):
        _print_section(console, section)
    for item in texts.changed(record):
        _print_shifts(console, item, record.runs[0].label)
    if page is not None:
        console.print(Text(f"\nReport: {plain(str(page))}"), soft_wrap=True)


def _print_section(console: Any, section: Section) -> None:
    from rich.text import Text

    for sentence in section.sentences:
        console.print(Text(plain(f"\n{section.heading} {sentence}")))
    if section.id != "runs":  # said above, in lines that fold
        for made in section.tables:
            console.print(Text(f"\n{made.caption}"))
            console.print(_table(made))
    for note in section.notes:
        console.print(Text(plain(note), style="dim"))


def _table(made: Table) -> Any:
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, cell in enumerate(made.head):
        words_here = index == 0 or index in made.text
        drawn.add_column(Text(plain(cell)), justify="left" if words_here else "right",
                         overflow="fold")
    for first, *cells in made.rows:
        drawn.add_row(*(Text(plain(cell)) for cell in (_line(first), *_fitted(made, cells))))
    return drawn


def _fitted(made: Table, cells: Sequence[str]) -> list[str]:
    """Values of settings cut to the terminal; intervals folded where they would not fit."""
    if made.text:
        return texts.shortened([_line(cell) for cell in cells], _ROOM // len(cells))
    wide = max(sum(map(len, row[1:])) for row in made.rows) > _FIGURES
    return [cell.replace(" (", "\n(") if wide else cell for cell in cells]


def _print_shifts(console: Any, item: RunDifference, first: str) -> None:
    from rich.padding import Padding
    from rich.text import Text

    sides: Sequence[tuple[str, int, Sequence[Shift]]] = (
        ("gained", item.gained, item.most_gained), ("lost", item.lost, item.most_lost))
    for verb, count, shifts in sides:
        if shifts:
            console.print(Text(f"\n{item.arm}, {first} to {item.run}: {verb} on {count}, "
                               "most on"))
        for shift in shifts[:_SHIFTS]:
            console.print(Padding(Text(plain(_line(shift.question))), (0, 0, 0, 2)))
            for label, worth, answer in ((first, shift.before, shift.answer_before),
                                         (item.run, shift.after, shift.answer_after)):
                console.print(Padding(Text(plain(
                    f"{label} {words.number(worth)}  {_cut(_line(answer)) or '(nothing)'}")),
                    (0, 0, 0, 4)))


def _line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str) -> str:
    return text if len(text) <= _ANSWER else text[:_ANSWER - 1] + "…"
