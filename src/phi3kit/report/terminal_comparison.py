"""A comparison on the terminal: the verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phi3kit.records import Comparison
from phi3kit.report import choice_text
from phi3kit.report import comparison_text as words
from phi3kit.report import statistics_text as statistics
from phi3kit.report.revised_text import advice_sentences
from phi3kit.report.terminal_answer import plain
from phi3kit.wording import in_seconds

# What stands beside the deciding metric in 80 columns; the reports have all of them.
_BESIDE = ("contains", "abstention", "hit_at_k")


def print_comparison(comparison: Comparison, page: Path | None = None) -> None:
    """Print the verdict, the arms, the kinds of question, the differences, and where to look.

    Args:
        comparison: what was found.
        page: the HTML report, named at the end.
    """
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    said = Text(plain(choice_text.lead(comparison)))
    if advice := advice_sentences(comparison):
        said.append(f"\n{plain(' '.join(advice))}")
    decided = choice_text.decided(comparison)
    console.print(Panel(said, border_style="green" if decided else "yellow",
                        title="decided" if decided else "not decidable yet",
                        title_align="left"))
    console.print(_arms(comparison))
    if words.kinds_of(comparison):
        console.print(_kinds(comparison))
    console.print(_differences(comparison))
    if comparison.discordances:
        console.print(_discordances(comparison))
    for heading, sentences in words.findings(comparison):
        console.print(Text(plain(f"{heading} {' '.join(sentences)}")))
    if comparison.notes:
        notes = ". ".join(note.removesuffix(".") for note in comparison.notes)
        console.print(Text(plain(f"To read this rightly: {notes}.")))
    if page is not None:
        console.print(Text(f"\nReport: {plain(str(page))}"), soft_wrap=True)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(Text(plain(column)), justify="right" if index else "left",
                         no_wrap=True)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    # A title of the table's own would be broken to the table's width.
    return Group(Text(f"\n{title}"), table)


def _arms(comparison: Comparison) -> Any:
    metric = comparison.verdict.metric
    shown = [name for name in _BESIDE
             if name != metric and name in words.metrics_of(comparison)]
    head = ["arm", words.METRIC_NAMES[metric], *(words.METRIC_NAMES[name] for name in shown),
            "tokens", "time"]
    rows = []
    for arm in words.ranked(comparison):
        cells = [words.number(arm.metrics[name].mean) if name in arm.metrics else "–"
                 for name in shown]
        failed = f" ({arm.errors} failed)" if arm.errors else ""
        rows.append([arm.arm + failed, words.spread(arm.metrics[metric]), *cells,
                     f"{words.per_answer(arm.tokens_in, arm)}+"
                     f"{words.per_answer(arm.tokens_out, arm)}",
                     in_seconds(arm.seconds / arm.questions)])
    return _table(f"Means per answer, with {comparison.confidence * 100:g}% intervals", head, rows)


def _kinds(comparison: Comparison) -> Any:
    arms = words.ranked(comparison)
    rows = [[" ".join(kind.split()), *(words.number(a.by_kind.get(kind, 0.0)) for a in arms)]
            for kind in words.kinds_of(comparison)]
    return _table(f"By kind of question ({words.METRIC_NAMES[comparison.verdict.metric]})",
                  ["kind", *(arm.arm for arm in arms)], rows)


def _differences(comparison: Comparison) -> Any:
    rows = [[f"{d.a} over {d.b}", words.spread(d.difference), words.p_value(d.p)]
            for d in words.sorted_differences(comparison)]
    return _table("Arm against arm, paired by question", ["", "difference", "p (Holm)"], rows)


def _discordances(comparison: Comparison) -> Any:
    """McNemar's counts, for the yes/no metric that decides or else stands nearest to it."""
    metric, counts = statistics.foremost_discordances(comparison)
    rows = [[f"{found.a}, {found.b}", str(found.only_a), str(found.only_b),
             statistics.discordance_p(found)] for found in counts]
    return _table(f"Right or wrong ({metric}), questions taken for independent",
                  ["", "only the first", "only the second", "p (McNemar)"], rows)
