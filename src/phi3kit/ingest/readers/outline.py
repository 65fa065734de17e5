"""Builds Markdown from the blocks of a format that has headings, paragraphs and tables."""

from __future__ import annotations

from collections.abc import Sequence

from phi3kit.ingest.document import Document, Heading, Part


class Outline:
    """Collects blocks in document order."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._headings: list[Heading] = []
        self._at = 0

    def heading(self, level: int, title: str) -> None:
        """Add a heading of `level` 1 to 6, or a title of the whole with 0."""
        title = " ".join(title.split())
        if title:
            line = f"{'#' * max(1, level)} {title}"
            self._headings.append(Heading(self._at, self._at + len(line), level, title))
            self._add(line)

    def paragraph(self, text: str) -> None:
        """Add a paragraph or a list's item."""
        if text.strip():
            self._add(text.strip())

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Add a table; its first row names the columns."""
        lines = ["| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row)
                 + " |" for row in rows if any(cell.strip() for cell in row)]
        if lines:
            lines.insert(1, "|" + " --- |" * max(1, len(rows[0])))
            self._add("\n".join(lines))

    def document(self) -> Document:
        """Everything that was added, with the headings' places."""
        text = "\n\n".join(self._blocks)
        return Document(text, (Part(0, len(text)),), tuple(self._headings), markdown=True)

    def _add(self, block: str) -> None:
        self._blocks.append(block)
        self._at += len(block) + 2
