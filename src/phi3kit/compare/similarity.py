"""Likeness in meaning of output and gold answer, by the embedder that documents are found with.

A secondary measure: what negates the right answer is very much like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from phi3kit.compare.metrics import SIMILARITY
from phi3kit.compare.words import plain
from phi3kit.records import Row

if TYPE_CHECKING:
    from phi3kit.ingest.embed import Embedder
    from phi3kit.settings import Settings


def with_similarity(rows: Sequence[Row], embedder: Embedder) -> list[Row]:
    """The rows, those that answer an answerable question with their similarity.

    It is the best cosine similarity over the gold answers; below 0 is 0, as is an abstention.
    Each text is embedded once.
    """
    applies = [row for row in rows if row.gold and not row.error and not row.abstained]
    said = [plain(row.output, row.gold) for row in applies]
    texts = list(dict.fromkeys([*said, *(text for row in applies for text in row.gold)]))
    vectors = dict(zip(texts, embedder.encode(texts), strict=True)) if texts else {}
    found = {(row.arm, row.seed, row.question_id): max(
        0.0, *(float(vectors[text] @ vectors[gold]) for gold in row.gold))
        for row, text in zip(applies, said, strict=True)}
    return [replace(row, metrics={**row.metrics, SIMILARITY: min(1.0, found.get(
        (row.arm, row.seed, row.question_id), 0.0))}) if row.gold and not row.error else row
        for row in rows]


def open_embedder(settings: Settings) -> Embedder:
    """The embedder that the settings name.

    Raises:
        ModelError: it cannot be loaded.
    """
    from phi3kit.ingest import embed

    return embed.open_embedder(settings.ingest.embedder, device=settings.model.device,
                               precision=settings.ingest.precision)
