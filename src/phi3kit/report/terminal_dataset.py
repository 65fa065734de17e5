"""Training examples on the terminal: what was found in them, what was made of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from phi3kit.records import (
    DatasetCheck,
    DatasetSplit,
    Failure,
    LabelCounts,
    MaskPicture,
    RaftReport,
    SynthReport,
)
from phi3kit.report.preflight_text import preflight_rows
from phi3kit.report.terminal_answer import plain

if TYPE_CHECKING:
    from rich.text import Text

_SHOWN = 20  # lines of a finding; --json has them all
_LABELS = 12
_TRAINED = "bold green"
_PROMPT = "dim"
_OPEN, _CLOSE = "⟦", "⟧"  # around what is trained, where there are no colours


def print_check(check: DatasetCheck) -> None:
    """Show an audit on stdout: figures, findings by line, and the masks of some examples."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for line in check_lines(check):
        console.print(_clean(line))
    if not check.masks:
        return
    plainly = console.color_system is None or console.no_color  # NO_COLOR leaves bold and dim
    marks = f"between {_OPEN} and {_CLOSE}" if plainly else "(coloured)"
    console.print(f"\nWhat is trained {marks}")
    for picture in check.masks:
        cut = ", the start of its prompt is cut" if picture.cut else ""
        console.print(f"\n  line {picture.line}: {picture.trained} of {picture.tokens} "
                      f"tokens{cut}")
        console.print(mask_text(picture, brackets=plainly))


def check_lines(check: DatasetCheck) -> list[str]:
    """The lines of `print_check` above the masks."""
    lines = [f"{check.source}: {check.format} format",
             _row("examples", f"{check.examples:,}, {len(check.skipped):,} would be left out")]
    sizes = check.lengths
    if sizes is not None:
        cut = (f"{sizes.cut:,} are longer than {sizes.limit:,} and lose {sizes.lost:,} tokens of "
               "their prompts" if sizes.cut else f"none is longer than {sizes.limit:,}")
        if sizes.lost_answers:
            cut += (f", {sizes.losing_answers:,} of them {sizes.lost_answers:,} answers to train "
                    "on too")
        lines += [_row("tokens", f"{sizes.least:,} to {sizes.most:,}, median {sizes.median:,.0f}, "
                                 f"95% up to {sizes.p95:,.0f} ({sizes.model}); {cut}"),
                  _row("trained", f"{sizes.trained:.0%} of the tokens")]
    near = sum(repeat.near for repeat in check.repeats)
    lines += [_row("copies", f"{len(check.repeats) - near:,} exact, {near:,} near"),
              _row("conflicts", f"{len(check.conflicts):,} have the prompt of another and a "
                                "different answer")]
    if check.questions:
        how = ", ".join(f"{sum(leak.how == kind for leak in check.leaks):,} {kind}"
                        for kind in ("exact", "13-gram", "near"))
        lines.append(_row("leakage", f"{how}, against {check.questions:,} held-out questions"))
    lines += [_row("labels", _balance(found)) for found in check.labels]
    if check.control:
        lines.append(_row("control", f"{len(check.control):,} hold control tokens of the model, "
                                     "which are broken up"))
    known = check.known
    if known is not None:
        share = len(known.lines) / known.asked if known.asked else 0.0
        lines.append(_row("known", f"the base already gives {len(known.lines):,} of "
                                   f"{known.asked:,} answers ({share:.0%})" + (
            f"; {known.errors:,} could not be asked" if known.errors else "")))
    lines += [_row("note", note) for note in check.notes]
    if check.preflight is not None:
        lines.append(f"{check.preflight.model}: before it trains")
        lines += [_row(*row) for row in preflight_rows(check.preflight)]
    return [*lines, *_findings(check)]


def print_split(split: DatasetSplit) -> None:
    """Show on stdout what was held out, by kind, and where it was written."""
    whole = split.train + split.held_out
    lines = [f"{split.source}: {split.train:,} examples to train on ({split.train / whole:.0%}), "
             f"{split.held_out:,} held out, in {split.groups:,} groups that stay together"]
    width = max((len(kind) for kind in split.by_kind), default=0)
    if any(split.by_kind):
        lines += [f"  {kind or '(no kind)':<{max(width, 9)}}  {train:>6,}  {held:>6,}"
                  for kind, (train, held) in split.by_kind.items()]
    if whole_kinds := [kind for kind, sides in split.by_kind.items() if 0 in sides]:
        lines.append(f"{len(whole_kinds)} of {len(split.by_kind)} kinds stand on one side alone: "
                     "their examples belong together, mostly by a source document that all of "
                     "them name")
    if split.without_source:
        lines.append(f"{split.without_source:,} name no source document: of those only the same "
                     "and nearly the same prompts were kept together, and other examples about "
                     "one document may stand on both sides")
    if split.own_system:
        one = "the one that they share" if split.systems == 1 else (
            f"one that suits all: they have {split.systems:,}")
        lines.append(f"{split.own_system:,} held-out questions have a system message of their own; "
                     f"compare asks with ask.instruction, so set it to {one}")
    lines += [f"  {file}" for file in split.files]
    _echo([*lines, *_listed("Left out", split.skipped)])


def print_raft(report: RaftReport) -> None:
    """Show on stdout what was written."""
    file = shlex.quote(report.file)
    _echo([f"{report.file}: {report.examples:,} examples with passages",
           _row("abstain", f"{report.abstaining:,}, their right passage left out"),
           _row("added", f"{report.added:,} right passages that the search had ranked too low"),
           *([_row("uncited", f"{report.uncited:,} answers that a program reads (JSON, calls, "
                              "queries): a citation would break them")] if report.uncited else []),
           *_listed("Left out", report.skipped), "", "Next",
           f"  phi3kit dataset check {file}",
           f"  phi3kit finetune --dataset {file} --passages 0"])


def print_synth(report: SynthReport) -> None:
    """Show on stdout how many pairs passed the filters, and what dropped the others."""
    reused = f" ({report.reused:,} of them before)" if report.reused else ""
    lines = [f"{report.file}: {report.pairs:,} of {report.wanted:,} pairs, from {report.tried:,} "
             f"attempts{reused}"]
    lines += [f"  {count:>6,}  {why}" for why, count in report.dropped.items()]
    if report.failed:
        lines.append(f"At {report.failed:,} more the model failed; the same command with --force "
                     "tries them again")
    elif report.pairs < report.wanted:
        lines.append("Every passage was tried. A larger model writes more that passes: --model, "
                     "or model.endpoint")
    _echo(lines)


def mask_text(picture: MaskPicture, *, brackets: bool) -> Text:
    """An example with its trained tokens marked, by colour or by brackets; never as markup."""
    from rich.text import Text

    drawn = Text()
    for span in picture.spans:
        text = plain(span.text)
        if span.trained and brackets:
            text = f"{_OPEN}{text}{_CLOSE}"
        drawn.append(text, style=_TRAINED if span.trained else _PROMPT)
    return drawn


def _findings(check: DatasetCheck) -> list[str]:
    at = f"{check.source}:"
    return [
        *_listed("Would be left out", check.skipped),
        *_some("Leakage", [f"{at}{leak.line} {_LEAKS[leak.how]} '{leak.question_id}' "
                           f"({leak.where})" for leak in check.leaks]),
        *_some("Copies", [f"{at}{r.line} {'nearly ' if r.near else ''}repeats line {r.of}"
                          for r in check.repeats]),
        *_some("Conflicts", [f"{at}{c.line} has the prompt of line {c.other} and a different "
                             "answer" for c in check.conflicts]),
        *_some("Cut", [f"{at}{c.line} loses {c.lost:,} of {c.tokens:,} tokens" + (
            f" and {c.answers:,} answers to train on" if c.answers else "") for c in check.cuts]),
        *_some("Control tokens", [f"{at}{line}" for line in check.control]),
        *_some("Answered by the base already", [f"{at}{line}" for line in (
            check.known.lines if check.known else ())]),
    ]


_LEAKS = {"exact": "asks the held-out question", "13-gram": "shares 13 words in a row with",
          "near": "asks nearly the same as"}


def _balance(found: LabelCounts) -> str:
    total = sum(found.counts.values())
    shown = [f"{label} {count:,}" for label, count in list(found.counts.items())[:_LABELS]]
    more = len(found.counts) - len(shown)
    kind = f" of {found.kind}" if found.kind else ""
    return (f"{len(found.counts)}{kind} in {total:,} answers: {', '.join(shown)}"
            + (f" and {more} more" if more else ""))


def _listed(title: str, failures: Sequence[Failure]) -> list[str]:
    return _some(title, [f"{failure.where}: {failure.why}" for failure in failures])


def _some(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    more = ([f"  … and {len(lines) - _SHOWN:,} more; --json lists them all"]
            if len(lines) > _SHOWN else [])
    return ["", f"{title}: {len(lines):,}", *(f"  {line}" for line in lines[:_SHOWN]), *more]


def _row(label: str, text: str) -> str:
    return f"  {label:<9} {text}"


def _echo(lines: Iterable[str]) -> None:
    for line in lines:
        print(_clean(line))


def _clean(line: str) -> str:
    """One line without control characters: names, labels and reasons come from files."""
    return plain(line.replace("\n", " "))
