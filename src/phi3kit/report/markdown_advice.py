"""The whole advice as Markdown: for a pull request, a wiki, a diff."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from phi3kit.records import Advice
from phi3kit.report import advice_text as words
from phi3kit.report.comparison_text import spread
from phi3kit.report.markdown import escape, table

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


def markdown(advice: Advice) -> str:
    """Everything that the record holds, ending in a line feed.

    What comes from documents, paths and answers is escaped: it can make no markup.
    """
    return "\n\n".join(_parts(words.cleaned(advice))) + "\n"


def _parts(advice: Advice) -> Iterator[str]:
    yield f"# Advice: {escape(words.heading(advice))}"
    yield escape(f"{words.sure(advice).capitalize()}. {words.standing(advice)}")
    if advice.contradictions:
        yield "## Contradictions"
        yield _list([f"**{escape(line)}**" for line in advice.contradictions])
    yield "## Shares"
    yield table(["option", "share"], [[escape(words.name(option)), f"{share:.1%}"]
                                      for option, share in advice.scores.items()])
    yield from _comparison(advice)
    yield from _reasons(advice)
    yield from _open_ends(advice)
    yield from _answers(advice)
    yield from _costs(advice)
    yield from _next(advice)
    yield escape(f"Basis: {advice.basis}. {'Decided' if advice.decided else 'Not decided'}.") + (
        f" Rules: {_code(advice.rules_sha256)}." if advice.rules_sha256 else "")


def _comparison(advice: Advice) -> Iterator[str]:
    seen = advice.comparison
    if seen is None:
        return
    yield f"## Measured in {escape(seen.run)}"
    yield escape(" ".join(words.outcome(advice)))
    yield table(["option", f"{escape(seen.metric)} (interval)"],
                [[escape(arm), spread(found)] for arm, found in words.arms(advice)])
    if seen.requirements:
        yield "Beyond the score:"
        yield _list([escape(line) for line in seen.requirements])


def _reasons(advice: Advice) -> Iterator[str]:
    if not advice.reasons:
        return
    yield f"## Why the rules argue for {words.argued(advice)}"
    options = list(advice.scores)
    weighed = words.weighed(advice)
    yield _columns(["rule", *options, "because"], [
        [_code(item.reason.rule),
         *(words.signed(item.reason.effects.get(option, 0.0)) for option in options),
         escape(", ".join(item.reason.because))] for item in weighed])
    against = words.heaviest_against(advice)
    for item in weighed:
        mark = " (speaks most against it)" if item == against else ""
        yield f"### {_code(item.reason.rule)}{mark}"
        yield escape(item.reason.statement)
        yield _list([f"Source: {escape(item.reason.source)}",
                     *(escape(line) for line in item.reason.evidence)])


def _open_ends(advice: Advice) -> Iterator[str]:
    if advice.reverse_when:
        yield "## What would reverse it"
        yield _list([escape(words.reversal(item)) for item in advice.reverse_when])
    if advice.missing:
        yield "## Unanswered, the most telling first"
        yield _list([f"{_code(item.field)} (moves {item.weight:.0%}): {escape(item.question)}"
                     for item in advice.missing])


def _answers(advice: Advice) -> Iterator[str]:
    if advice.scenario:
        yield "## The answers"
        yield _columns(["question", "answer"], [
            [_code(field), escape(words.word(value))] for field, value
            in advice.scenario.items()])
    if advice.measured:
        yield "## Answers found in your data"
        yield _columns(["question", "in the data", "you say", "how"], [
            [_code(item.field), escape(words.word(item.value)),
             "" if item.given is None else escape(words.word(item.given)), escape(item.how)]
            for item in advice.measured])
        yield "Where you say something, that stands."


def _costs(advice: Advice) -> Iterator[str]:
    if advice.costs:
        yield "## What it costs"
        yield _columns(["option", "what", "expected (range)", "how"], [
            [escape(", ".join(options)), escape(item.what), escape(words.figure(item)),
             escape(item.how)] for options, item in words.costs(advice)])
    if advice.method:
        yield f"## {words.METHODS[advice.method]}"
        yield f"{escape(advice.method_why)} (rule `adapter-method`)"


def _next(advice: Advice) -> Iterator[str]:
    commands = words.commands(advice)
    if not commands:
        return
    yield "## Next" if advice.decided else "## Next: measure"
    if advice.settle is not None:
        yield escape(f"{words.settling(advice.settle)} {advice.settle.how}")
    runs = [len(run) for line in commands for run in re.findall("`+", line)]
    # A fence ends at the first run of backticks as long as its own.
    fence = "`" * max(3, *(run + 1 for run in runs), 3)
    yield "\n".join([fence, *commands, fence])


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table of text."""
    return "\n".join("| " + " | ".join(line) + " |"
                     for line in [head, ["---"] * len(head), *rows])


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _code(text: str) -> str:
    """A name as code; whatever is none is escaped instead, for code cannot hold all of it."""
    return f"`{text}`" if _PLAIN_NAME.fullmatch(text) else escape(text)
