"""How well passages are found, as a table."""

from __future__ import annotations

from phi3kit.records import Interval, RetrievalReport
from phi3kit.report.terminal_answer import plain


def print_retrieval(report: RetrievalReport) -> None:
    """Print every way of retrieving with its measures, and its lead over dense retrieval."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    names = list(report.modes[0].metrics)
    table.add_column("")
    for mode in report.modes:
        table.add_column(mode.mode, justify="right", no_wrap=True)
    for name in names:
        table.add_row(name, *(_words(mode.metrics[name]) for mode in report.modes))
    table.add_row("nDCG@10 over dense", *(
        _words(mode.ahead, "+") if mode.ahead else "" for mode in report.modes))
    console.print(table)
    left = f"; {report.left_out} without source_ids left out" if report.left_out else ""
    console.print(Text(plain(
        f"{report.questions} questions about {report.clusters} documents{left}; collection "
        f"'{report.collection}', {report.confidence:.0%} intervals")))


def _words(value: Interval, sign: str = "") -> str:
    return (f"{value.mean:{sign}.2f} ({value.low:{sign}.2f} to {value.high:{sign}.2f})")
