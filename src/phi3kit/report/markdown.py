"""A comparison as Markdown: for a pull request, a wiki, a diff."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from phi3kit.records import Comparison
from phi3kit.report import comparison_text as words
from phi3kit.report.choice_text import lead
from phi3kit.report.revised_text import advice_sentences
from phi3kit.report.sections import Section, sections
from phi3kit.wording import in_seconds

_MARKED = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$-])")


def comparison_markdown(comparison: Comparison) -> str:
    """The verdict, the figures and the conditions; the answers stay in rows.jsonl."""
    arms = words.ranked(comparison)
    metric = comparison.verdict.metric
    level = f"{comparison.confidence * 100:g}%"
    said, *beside = lead(comparison).splitlines()
    parts = [f"# {said}", *beside]
    if advice := advice_sentences(comparison):
        parts.append(" ".join(escape(sentence) for sentence in advice))
    for heading, sentences in words.findings(comparison):
        parts += [f"## {heading}", " ".join(escape(sentence) for sentence in sentences)]
    names = words.metrics_of(comparison)
    rows = [[words.METRIC_NAMES[name], *(
        words.spread(arm.metrics[name]) if name in arm.metrics else "–" for arm in arms)]
        for name in names]
    rows += [
        ["prompt tokens per answer", *(words.per_answer(a.tokens_in, a) for a in arms)],
        ["answer tokens per answer", *(words.per_answer(a.tokens_out, a) for a in arms)],
        ["time per answer", *(in_seconds(a.seconds / a.questions) for a in arms)],
        ["failed", *(str(a.errors) for a in arms)],
    ]
    parts += [f"## The arms, with {level} intervals", table(["", *(a.arm for a in arms)], rows)]
    if kinds := words.kinds_of(comparison):
        parts += [f"## By kind of question ({words.METRIC_NAMES[metric]})", table(
            ["kind", *(a.arm for a in arms)],
            [[escape(kind), *(words.number(a.by_kind.get(kind, 0.0)) for a in arms)]
             for kind in kinds])]
    parts += ["## Arm against arm", table(
        ["better", "worse", f"difference ({level})", "p (Holm)"],
        [[d.a, d.b, words.spread(d.difference), escape(words.p_value(d.p))]
         for d in words.sorted_differences(comparison)])]
    told = {sentence for _, sentences in words.findings(comparison) for sentence in sentences}
    for section in sections(comparison):
        parts += _section(section, told)
    parts += ["## What all arms shared", table(
        ["", ""], [[name.replace("_", " "), escape(str(value))]
                   for name, value in comparison.conditions.items()])]
    return "\n\n".join(parts) + "\n"


def _section(section: Section, told: Collection[str]) -> list[str]:
    """Heading, sentences that were not told before, tables."""
    said = [escape(sentence) for sentence in (*section.sentences, *section.notes)
            if sentence not in told]
    return [f"## {section.heading}", *([" ".join(said)] if said else []),
            *(part for made in section.tables for part in (f"{escape(made.caption)}:", table(
                [escape(cell) for cell in made.head],
                [[escape(cell) for cell in row] for row in made.rows])))]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], text: Sequence[int] = ()) -> str:
    """A pipe table; the first column and those of `text` are words, the others are figures."""
    lines = [head, ["---:" if index and index not in text else "---"
                    for index in range(len(head))], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def escape(text: str) -> str:
    """`text` on one line, with nothing in it that Markdown or HTML would read as markup."""
    return _MARKED.sub(r"\\\1", " ".join(text.split()))
