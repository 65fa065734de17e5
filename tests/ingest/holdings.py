"""What the collection under test holds."""

from __future__ import annotations

from pathlib import Path

from phi3kit.ingest.store import open_store

FOLDER = Path(".phi3kit/store")


def held(collection="documents"):
    """Every passage, in a comparable form; the first item is its source, the last its ID."""
    store = open_store(FOLDER, collection)
    found = sorted((p.source, p.start, p.end, p.text, p.heading, p.sha256, p.id)
                   for p in store.passages())
    store.close()
    return found


def exact(collection="documents"):
    """Every row with all of its places and its vector: what a run has to end with."""
    store = open_store(FOLDER, collection)
    # Which axes, not how far: whenever vectors are added, they are scaled to length 1 again.
    found = sorted((row.id, row.text, row.places, tuple((vector > 0.01).nonzero()[0].tolist()))
                   for rows, vectors in store.with_vectors()
                   for row, vector in zip(rows, vectors, strict=True))
    store.close()
    return found


def places(collection="documents"):
    """Source to its texts in order, from every place of every row."""
    found = {}
    for _, text, where, _ in exact(collection):
        for place in where:
            found.setdefault(place.source, []).append((place.start, text))
    return {source: [text for _, text in sorted(texts)] for source, texts in found.items()}
