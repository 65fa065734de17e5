"""Training prompts against serving prompts, over a real collection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from facts_to_learn import Configure

from phi3kit.dataset.examples import read_examples
from phi3kit.dataset.prompts import chats
from phi3kit.errors import StoreError
from phi3kit.finetune.train import finetune
from phi3kit.ingest.reconcile import ingest
from phi3kit.models.generate import Generation
from phi3kit.rag.assistant import Assistant
from phi3kit.rag.retrieve import open_retriever
from phi3kit.records import Message
from phi3kit.settings import Settings

DOCUMENTS = {
    "winch.md": "# Winch\n\nThe winch needs marine grease number four.\n",
    "seal.md": "# Seals\n\nThe seal of the north gate is checked every seven days by the keeper.\n",
    "crane.md": "# Crane\n\nThe crane lifts 12 tonnes at 8 metres.\n",
}


class Listener:
    """A generator that keeps what it is asked."""

    context = 100_000
    heard: list[list[Message]]

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return 1

    def generate(self, prompts: Sequence[Sequence[Message]], *, max_new_tokens: int,
                 batch_tokens: int, on_batch: Any = None) -> list[Generation]:
        self.heard = [list(p) for p in prompts]
        results = [Generation("x", 1, 1, 0.1) for _ in prompts]
        if on_batch is not None:
            on_batch(list(range(len(results))), results)
        return results


@pytest.fixture
def shelved(configure: Configure, project: Path) -> Settings:
    """Settings with an ingested collection; all examples get passages."""
    folder = project / "documents"
    folder.mkdir()
    for name, text in DOCUMENTS.items():
        (folder / name).write_text(text)
    settings = configure(ingest__corpus=["documents"], passages=1.0, epochs=1,
                         ask__min_similarity=0.0, ask__passages=1, max_tokens=512)
    ingest(settings)
    return settings


@pytest.mark.model
def test_training_prompts_are_what_ask_shows_the_model(shelved: Settings) -> None:
    assert shelved.finetune.dataset is not None
    examples = read_examples(Path(shelved.finetune.dataset)).examples
    retriever = open_retriever(shelved)
    found = chats(examples, shelved.ask, seed=0, share=1.0, retriever=retriever)
    listener = Listener()
    questions = [example.question or "" for example in examples]
    Assistant(listener, retriever, shelved.ask).answer_all(questions, batch_tokens=1000)  # type: ignore[arg-type]
    asked = {chat[-1]["content"]: chat for chat in listener.heard}
    with_passages = [chat[:-1] for chat in found if chat[1]["content"] in asked]
    assert len(with_passages) == len(listener.heard) >= 4
    assert all(chat == asked[chat[-1]["content"]] for chat in with_passages)


@pytest.mark.model
def test_a_changed_index_is_another_run(shelved: Settings, project: Path) -> None:
    first = finetune(shelved)
    state = json.loads((Path(first.run) / "run.json").read_text())
    assert state["inputs"]["index"] == open_retriever(shelved).fingerprint
    assert finetune(shelved).reused
    (project / "documents" / "winch.md").write_text("# Winch\n\nIt needs no grease.\n")
    ingest(shelved)
    second = finetune(shelved)
    assert not second.reused and second.run != first.run
    assert second.losses != first.losses


def test_passages_need_a_collection(configure: Configure) -> None:
    with pytest.raises(StoreError):
        finetune(configure(passages=0.5))
