"""Runs side by side as Markdown: for a pull request or a wiki."""

from __future__ import annotations

from phi3kit.records import RunDifference, SideBySide
from phi3kit.report import comparison_text as words
from phi3kit.report import side_by_side_text as texts
from phi3kit.report.markdown import escape, table


def side_by_side_markdown(record: SideBySide) -> str:
    """What changed, every table, and the questions that changed most with both answers."""
    parts = [f"# {escape(texts.heading(record))}",
             *(escape(sentence) for sentence in texts.lead(record))]
    for section in texts.sections(record):
        parts += [f"## {section.heading}", *map(escape, section.sentences)]
        for made in section.tables:
            parts += [f"{escape(made.caption)}:", table(
                [escape(cell) for cell in made.head],
                [[escape(cell) for cell in row] for row in made.rows], made.text)]
        parts += map(escape, section.notes)
    changed = texts.changed(record)
    if changed:
        parts.append("## Questions that changed most")
    for item in changed:
        parts += _shifts(item, record.runs[0].label)
    return "\n\n".join(parts) + "\n"


def _shifts(item: RunDifference, first: str) -> list[str]:
    rows = [[escape(shift.question),
             f"{words.number(shift.before)} {escape(shift.answer_before)}",
             f"{words.number(shift.after)} {escape(shift.answer_after)}"]
            for shift in (*item.most_gained, *item.most_lost)]
    return [f"### {item.arm}, {first} to {item.run}: {item.gained} gained, {item.lost} lost, "
            f"{item.same} the same", table(["question", first, item.run], rows, (1, 2))]
