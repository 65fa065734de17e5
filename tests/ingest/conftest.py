"""A project folder, and an ingest into it that does not wait for a model."""

from __future__ import annotations

import pytest
from word_embedder import WordEmbedder

from phi3kit import settings
from phi3kit.ingest import reconcile


@pytest.fixture
def words(monkeypatch):
    embedder = WordEmbedder()
    monkeypatch.setattr(reconcile, "open_embedder", lambda name, **_: embedder)
    return embedder


@pytest.fixture
def ingest(project, words):
    """Ingests paths into the project's collection, with settings as keywords."""

    def run(*paths, rebuild=False, preview=False, **wanted):
        flags = {f"ingest.{key}": value for key, value in wanted.items()}
        do = reconcile.preview if preview else reconcile.ingest
        return do(settings.load(flags).values, paths, rebuild=rebuild)

    return run


@pytest.fixture
def docs(project):
    """Three documents; returns their folder."""
    folder = project / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "pumps.md").write_text(
        "# Pumps\n\nAll about pumps.\n\n## Seals\n\nThe shaft seal of the K7 is replaced every "
        "400 hours.\n\n## Grease\n\nUse marine grease number four.\n")
    (folder / "sub" / "cranes.md").write_text("# Cranes\n\nThe crane lifts 12 tonnes.\n")
    (folder / "gates.txt").write_text("The north gate is checked by the lock keeper.\n")
    return folder

