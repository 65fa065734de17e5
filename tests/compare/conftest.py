"""A small comparison: a real tiny Phi-3, a real adapter, a searcher that knows its words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters_of_tests import make_adapter
from phi3kit.settings import AskSettings, CompareSettings, ModelSettings, Settings
from three_documents import QUESTIONS, Collection, Searcher, Words


@pytest.fixture
def searcher(monkeypatch: pytest.MonkeyPatch) -> Searcher:
    """Takes the collection's place in `compare`."""
    import phi3kit.ingest.embed
    import phi3kit.ingest.store
    import phi3kit.rag.retrieve

    found = Searcher()
    monkeypatch.setattr(phi3kit.ingest.store, "open_store", lambda *_: Collection())
    monkeypatch.setattr(phi3kit.ingest.embed, "open_embedder", lambda *_, **__: Words())
    monkeypatch.setattr(phi3kit.rag.retrieve, "open_retriever", lambda *_: found)
    return found


@pytest.fixture(scope="session")
def adapter(tiny_phi3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on the tiny model that changes its answers."""
    return make_adapter(tiny_phi3, tmp_path_factory.mktemp("trained") / "adapter", seed=3)


def write_questions(path: Path, questions: Sequence[dict[str, Any]] = QUESTIONS) -> Path:
    path.write_text("".join(json.dumps(q) + "\n" for q in questions), encoding="utf-8")
    return path


@pytest.fixture
def settings(project: Path, tiny_phi3: Path, adapter: Path, searcher: Searcher) -> Settings:
    """All four arms on five questions; two prompts a batch, so that there are several."""
    write_questions(project / "questions.jsonl")
    return Settings(
        model=ModelSettings(name=str(tiny_phi3), device="cpu", dtype="float32"),
        ask=AskSettings(adapter=str(adapter), max_new_tokens=6, passages=2, instruction="Answer."),
        compare=CompareSettings(questions="questions.jsonl", resamples=1000, batch_tokens=300))
