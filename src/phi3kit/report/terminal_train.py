"""A training run on the terminal."""

from __future__ import annotations

import shlex

import typer

from phi3kit.records import DataDigest, TrainReport
from phi3kit.wording import printable

_SHOWN = 20  # failures; a file of wrong lines should not bury the result
_METHODS = {"lora": "LoRA", "qlora": "QLoRA, base in 4-bit NF4", "full": "every weight"}
_VARIANTS = {"rslora": "rank-stabilised", "dora": "DoRA", "pissa": "PiSSA start",
             "loftq": "LoftQ start"}


def print_train(report: TrainReport, *, base: str = "") -> None:
    """Show what a run made on stdout, with every example that was left out and why.

    Args:
        base: the model that a flag named: without it the next commands would load another one.
    """
    typer.echo("\n".join(printable(line) for line in train_lines(report, base=base)))


def train_lines(report: TrainReport, *, base: str = "") -> list[str]:
    """The lines of `print_train`, without making names and reasons fit for a terminal."""
    speed = report.tokens / report.seconds if report.seconds else 0.0
    whole = report.method == "full"
    answers = report.trained_tokens / report.tokens if report.tokens else 0.0
    lines = [
        f"{'reused' if report.reused else 'trained'}  {report.base} ({_method(report)})",
        _row("format", report.format),
        _row("examples", f"{report.examples:,}, {len(report.skipped):,} left out"),
        *(_data(report.data) if report.data else []),
        _trained(report),
        _row("steps", f"{report.steps:,} in {report.epochs:g} "
                      f"{'epoch' if report.epochs == 1 else 'epochs'}"),
        _row("loss", f"{report.losses[0]:.3f} → {report.final_loss:.3f}"),
        _row("tokens", f"{report.tokens:,} ({answers:.0%} of them answers, which carry the "
                       f"loss), {speed:,.0f} per second"),
        _row("time", f"{report.seconds:,.1f} s"),
        _row("memory", f"{report.peak_memory_bytes / 2**30:.2f} GiB at its peak"),
        _row("saved", f"{report.run}/{'model' if whole else 'adapter'}"),
    ]
    if report.skipped:
        lines += ["", f"Left out: {len(report.skipped):,}"]
        lines += [f"  {f.where}: {f.why}" for f in report.skipped[:_SHOWN]]
        if len(report.skipped) > _SHOWN:
            lines.append(f"  … and {len(report.skipped) - _SHOWN:,} more, all in "
                         f"{report.run}/run.json")
    if whole:
        trained = shlex.quote(f"{report.run}/model")
        return [*lines, "", "Next", f'  phi3kit ask --model {trained} "…"']
    run, model = shlex.quote(report.run), f" --model {shlex.quote(base)}" if base else ""
    return [*lines, "", "Next",
            f'  phi3kit ask --adapter {run}{model} "…"',
            f"  phi3kit compare --adapter {run}{model}"]


def _method(report: TrainReport) -> str:
    words = [_METHODS[report.method], *(_VARIANTS[name] for name in report.variants)]
    return ", ".join(words)


def _data(found: DataDigest) -> list[str]:
    """What was found in the examples; what nobody would mend takes no line."""
    said = [f"{count:,} {what}" for count, what in (
        (found.copies, "exact copies"), (found.near_copies, "near copies"),
        (found.conflicts, "with another's prompt and a different answer"),
        (len({leak.line for leak in found.leaks}), "close to a held-out question"),
        (found.control, "with control tokens, broken up"),
        (found.lengths.cut, f"cut to {found.lengths.limit:,} tokens")) if count]
    return [_row("data", ", ".join(said) + ": phi3kit dataset check shows which")] if said else []


def _trained(report: TrainReport) -> str:
    if report.method == "full":
        return _row("model", f"{report.trainable_parameters:,} parameters, all of them")
    return _row("adapter", f"{report.trainable_parameters:,} parameters on "
                           f"{', '.join(report.target_modules)}")


def _row(label: str, text: str) -> str:
    return f"  {label:<9} {text}"
