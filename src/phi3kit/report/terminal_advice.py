"""The advice on one screen: what weighs most of everything that the other views hold whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from phi3kit.records import Advice, Measured, Reason
from phi3kit.report import advice_text as words
from phi3kit.report.comparison_text import spread
from phi3kit.report.markdown_advice import markdown as markdown

_WIDTH = 80
_REASONS = _REVERSALS = _MISSING = 3
_MEASURED = 8
# A sentence that only illustrates is cut rather than wrapped, so that the rest stays in view.
_CUT = 78

Line = tuple[str, str]


def print_advice(advice: Advice) -> None:
    """Show the advice on stdout, at most 80 columns wide."""
    advice = words.cleaned(advice)
    console = open_console()
    styles = {"title": "bold", "head": "bold", "alarm": "bold red", "command": "cyan",
              "more": "dim"}
    for kind, line in _lines(advice):
        indent = "" if kind in ("title", "head") else "    " if kind == "more" else "  "
        put(console, line, style=styles.get(kind, ""), indent=indent, whole=kind == "command")


def print_what_if(before: Advice, after: Advice, changes: Mapping[str, Any]) -> None:
    """Show what other answers would change: recommendation, shares, costs, rules."""
    before, after = words.cleaned(before), words.cleaned(after)
    console = open_console()
    asked = ", ".join(f"{name} = {words.word(value)}" for name, value in changes.items())
    flip = before.recommendation != after.recommendation
    put(console, f"With {asked}: {after.recommendation}"
         + (f" instead of {before.recommendation}" if flip else ", as before"), style="bold")
    put(console, f"confidence {before.confidence:.0%} -> {after.confidence:.0%}, "
         f"{_decided(before)} -> {_decided(after)}", indent="  ")
    for option in before.scores:
        put(console, f"{option:<9} {before.scores[option]:>4.0%} -> "
            f"{after.scores.get(option, 0.0):>4.0%}", indent="  ")
    for line in _changed_costs(before, after):
        put(console, line, indent="  ")
    if before.method != after.method:
        put(console, f"tuning by {_method(before)} -> {_method(after)}", indent="  ")
    old = {reason.rule: reason for reason in before.reasons}
    new = {reason.rule: reason for reason in after.reasons}
    for rule in [*old, *(r for r in new if r not in old)]:
        was, now = old.get(rule), new.get(rule)
        if _effects_of(was) != _effects_of(now):
            put(console, f"rule {rule}: {words.effects(was)} -> {words.effects(now)}",
                indent="  ")


def _lines(advice: Advice) -> Iterator[Line]:
    """(kind, text) of every line: title, head, alarm, line, more, command."""
    yield "title", f"Advice: {words.heading(advice)} – {words.sure(advice)}"
    for contradiction in advice.contradictions:
        yield "alarm", f"contradiction: {contradiction}"
    yield "line", words.standing(advice)
    yield from _comparison(advice)
    yield "line", "shares: " + "  ".join(f"{o} {s:.0%}" for o, s in advice.scores.items())
    yield from _why(advice)
    if advice.reverse_when:
        yield "head", "What would reverse it"
        for item in advice.reverse_when[:_REVERSALS]:
            yield "line", words.reversal(item)
    telling = [m for m in advice.missing if m.weight > 0]
    if telling:
        yield "head", "Unanswered, the most telling first"
        for m in telling[:_MISSING]:
            yield "line", _cut(f"{m.field} (moves {m.weight:.0%}): {m.question}")
    yield from _measured(advice)
    yield from _costs(advice)
    yield from _next(advice)


def _comparison(advice: Advice) -> Iterator[Line]:
    seen = advice.comparison
    if seen is None:
        return
    yield "head", f"Measured in {seen.run}"
    yield "line", " ".join(words.outcome(advice))
    arms = [f"{arm} {spread(found)}" for arm, found in words.arms(advice)]
    # Two to a line: an interval that is wrapped in its middle is misread.
    yield from (("line", "; ".join(arms[i:i + 2])) for i in range(0, len(arms), 2))
    for requirement in seen.requirements:
        yield "line", f"beyond the score: {requirement}"


def _why(advice: Advice) -> Iterator[Line]:
    seen = advice.comparison
    yield "head", "Why" if seen is None else f"Why the rules argue for {seen.argued}"
    foremost = words.foremost(advice, _REASONS)
    if not foremost:
        yield "line", ("no rule that applies speaks for it" if advice.reasons else
                       "nothing is answered yet; no rule applies")
    for item in foremost:
        yield from _reason(item)
    against = words.heaviest_against(advice)
    if against is not None:
        yield "head", "What speaks against it"
        yield from _reason(against)


def _reason(item: words.Weighed) -> Iterator[Line]:
    because = f" ({', '.join(item.reason.because)})" if item.reason.because else ""
    yield "line", f"{item.reason.rule}{because}: {item.reason.statement}"
    if item.strongest:
        yield "more", f"{item.strongest} ({item.cases})"
    else:
        yield "more", f"source: {item.reason.source}"


def _measured(advice: Advice) -> Iterator[Line]:
    if not advice.measured:
        return
    yield "head", "Answers found in your data"
    # Where the user and the data disagree comes first: there the user may be wrong.
    disputed = sorted(advice.measured, key=lambda item: not _disputed(item))
    for item in disputed[:_MEASURED]:
        yield "line", _cut(f"{words.told(item)}: {item.how}")
    if len(disputed) > _MEASURED:
        yield "line", (f"and {len(disputed) - _MEASURED} more: --markdown and --html "
                       "show all of them")


def _disputed(item: Measured) -> bool:
    return item.given is not None and item.given != item.value


def _costs(advice: Advice) -> Iterator[Line]:
    if not advice.costs and not advice.method:
        return
    yield "head", "What it costs" if advice.costs else "How to tune"
    for options, item in words.costs(advice):
        yield "line", words.cost(options, item)
    if advice.method:
        yield "line", (f"{words.METHODS[advice.method]}: {advice.method_why} "
                       "(rule adapter-method)")


def _next(advice: Advice) -> Iterator[Line]:
    yield "head", "Next" if advice.decided else "Next: measure"
    commands = words.commands(advice)
    if advice.settle is not None:
        yield "line", words.settling(advice.settle)
        # One comparison is enough on a screen: the one that settles it.
        commands = [c for c in commands if c == advice.settle.command
                    or not c.startswith("phi3kit compare")]
    for command in commands:
        yield "command", command


def _changed_costs(before: Advice, after: Advice) -> Iterator[str]:
    old = {(item.option, item.what): words.figure(item) for item in before.costs}
    new = {(item.option, item.what): words.figure(item) for item in after.costs}
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) != new.get(key):
            yield (f"{key[0]}, {key[1]}: {old.get(key, 'not counted')} -> "
                   f"{new.get(key, 'not counted')}")


def _effects_of(reason: Reason | None) -> Mapping[str, float] | None:
    return reason.effects if reason else None


def _method(advice: Advice) -> str:
    return words.METHODS[advice.method] if advice.method else "none"


def _decided(advice: Advice) -> str:
    return "decided" if advice.decided else "undecided"


def _cut(text: str) -> str:
    return text if len(text) <= _CUT else f"{text[:_CUT - 1].rsplit(' ', 1)[0]} …"


def open_console() -> Console:
    """A console on stdout, at most 80 columns wide, that takes text as it is."""
    console = Console(highlight=False, markup=False, emoji=False)
    return Console(highlight=False, markup=False, emoji=False,
                   width=min(_WIDTH, console.width))


def put(console: Console, line: str, *, style: str = "", indent: str = "",
        whole: bool = False) -> None:
    """Print a line, wrapped under its indent; commands stay whole so that they can be copied."""
    safe = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    if whole:
        console.print(Text(indent + safe, style=style), soft_wrap=True)
        return
    for part in Text(safe, style=style).wrap(console, console.width - len(indent)):
        part.rstrip()
        console.print(Text(indent) + part)
