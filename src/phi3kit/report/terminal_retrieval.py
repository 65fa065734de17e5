"""How well passages are found, and from where on nothing should be, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi3kit.records import CalibrationReport, Interval, RetrievalReport
from phi3kit.report.comparison_text import p_value
from phi3kit.report.terminal_answer import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_retrieval(report: RetrievalReport) -> None:
    """Print every way of retrieving with its measures, then which is better than which."""
    console, table = _console(), _table("", *(mode.mode for mode in report.modes))
    for name in report.modes[0].metrics:
        table.add_row(name, *(_words(mode.metrics[name]) for mode in report.modes))
    console.print(table)
    pairs = _table("nDCG@10", "difference", "p (Holm)", "")
    for pair in report.differences:
        pairs.add_row(f"{pair.mode} over {pair.other}", _words(pair.difference, "+"),
                      p_value(pair.p), pair.verdict)
    console.print(pairs)
    left = f"; {report.left_out} without known documents left out" if report.left_out else ""
    _say(console, f"{report.questions} questions about {report.clusters} documents{left}; "
                  f"{report.unit} ranked; collection '{report.collection}', "
                  f"{100 * report.confidence:g}% intervals")


def print_calibration(report: CalibrationReport) -> None:
    """Print the trade-off, what the chosen threshold does elsewhere, and the line to write."""
    console = _console()
    table = _table("threshold", "refused of unanswerable", "wrongly refused", "")
    for point in report.points:
        marks = [name for name, at in (("today", report.today), ("chosen", report.chosen))
                 if at == point.threshold]
        table.add_row(f"{point.threshold:.2f}", f"{point.refused:.0%}",
                      f"{point.wrongly_refused:.0%}", ", ".join(marks))
    console.print(table)
    effects = _table("", f"today ({report.today:.2f})", "chosen on other documents")
    for name, field in (("refused of unanswerable", "refused"),
                        ("wrongly refused", "wrongly_refused"),
                        ("balanced accuracy", "balanced_accuracy")):
        effects.add_row(name, _words(getattr(report.effect_today, field)),
                        _words(getattr(report.effect_chosen, field)))
    console.print(effects)
    _say(console, f"{report.answerable} answerable and {report.unanswerable} unanswerable "
                  f"questions about {report.clusters} documents, {report.folds} folds by "
                  f"document; at most {report.limit:.0%} wrongly refused; collection "
                  f"'{report.collection}', {100 * report.confidence:g}% intervals")
    _say(console, f"Chosen against today, balanced accuracy: {_words(report.gain, '+')}, "
                  f"p {p_value(report.p)}, {report.verdict}")
    advice = ("For phi3kit.yaml:" if report.verdict == "better" else
              "Nothing speaks for a change. If you take it nevertheless, for phi3kit.yaml:")
    _say(console, f"\n{advice}\nask:\n  min_similarity: {report.chosen:.2f}")


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def _table(first: str, *others: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right" if name else "left", no_wrap=bool(name))
    return table


def _say(console: Console, text: str) -> None:
    from rich.text import Text

    console.print(Text(plain(text)))


def _words(value: Interval, sign: str = "") -> str:
    return (f"{value.mean:{sign}.2f} ({value.low:{sign}.2f} to {value.high:{sign}.2f})")
