"""Retrieval: choice of passages on a fake index, then the real Chroma and MiniLM."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from phi3kit import settings
from phi3kit.errors import StoreError
from phi3kit.ingest.client import connect
from phi3kit.ingest.manifest import Manifest
from phi3kit.ingest.rows import Place, Row
from phi3kit.ingest.store import Store, create_store, open_store
from phi3kit.ingest.swap import publish, stage
from phi3kit.rag.filters import read_filters
from phi3kit.rag.lexical import build_index
from phi3kit.rag.retrieve import Retriever, embedder_name, open_retriever
from phi3kit.records import Passage


def passage(id: str, score: float, text: str | None = None, start: int = 0) -> Passage:
    return Passage(id, text or f"text {id}", "a.md", start, start + 9, score=score)


class Index:
    """What a store and an embedder do, with the result given."""

    def __init__(self, *found: list[Passage]) -> None:
        self.found = list(found)
        self.asked: list[int] = []
        self.encoded: list[list[str]] = []

    def count(self) -> int:
        return 100

    @property
    def fingerprint(self) -> str:
        return "sha256:index"

    def query(self, vectors: list[str], k: int) -> list[list[Passage]]:
        self.asked.append(k)
        return self.found

    def encode(self, texts: list[str]) -> list[str]:
        self.encoded.append(texts)
        return texts


def retrieve(index: Index, questions: list[str], k: int, least: float):
    return Retriever(index, index).retrieve(questions, k, least)


def test_best_first_above_the_threshold_and_at_most_k():
    index = Index([passage("a", 0.3), passage("b", 0.9), passage("c", 0.5), passage("d", 0.29)])
    assert [[p.id for p in ps] for ps in retrieve(index, ["?"], 3, 0.3)] == [["b", "c", "a"]]
    assert [p.id for p in retrieve(index, ["?"], 1, 0.3)[0]] == ["b"]
    assert retrieve(index, ["?"], 3, 0.95) == [()]


def test_equal_texts_count_once_and_do_not_cost_a_place():
    index = Index([passage("a", 0.9, "same  text"), passage("b", 0.8, "same\ntext"),
                   passage("c", 0.7)])
    assert [p.id for p in retrieve(index, ["?"], 2, 0.0)[0]] == ["a", "c"]
    assert index.asked[0] > 2


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
@pytest.mark.parametrize("filters", [None, read_filters(["source=a.md"])])
def test_text_that_is_repeated_under_other_headings_crowds_nothing_out(mode, filters, project):
    texts = [f"{'grease ' * 9}{n if n > 12 else 'same'}" for n in range(1, 31)]
    rows = [Row(f"id{n:02}", f"heading {n}", text, (
        Place("a.md", n, n + 1, None, "", "f" * 64, 30, 0),)) for n, text in enumerate(texts)]
    store = create_store(project / "store", "documents", Manifest("m", "sha256:m", 2, 200, 1))
    angles = np.linspace(0, 0.3, 30, dtype=np.float32)
    store.add(rows, np.stack([np.cos(angles), np.sin(angles)], axis=1))

    lexical = None if mode == "dense" else build_index(store.passages())
    retriever = Retriever(store, Same(), lexical=lexical, mode=mode, filters=filters)
    one, two = retriever.rank(["grease", "grease"], 5, -1.0)
    assert one == two and len({p.text for p in one}) == 5
    assert one[0].text.endswith("same")
    assert len(retriever.rank(["grease"], 40, -1.0)[0]) == 19
    # Nothing below the threshold is looked for.
    assert len(retriever.rank(["grease"], 5, 1.0)[0]) == (1 if mode == "dense" else 5)


def filled(store: Store, *numbers: int) -> None:
    store.add([Row(f"id{n}", "", f"text {n}", (Place("a.md", n, n + 1, None, "", "f" * 64, 9, 0),))
               for n in numbers], np.array([[1, n] for n in numbers], dtype=np.float32))
    store.close()


class Same:
    """An embedder with one vector."""

    name, fingerprint = "same", "sha256:m"

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.array([[1, 0]] * len(texts), dtype=np.float32)


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
@pytest.mark.parametrize("filters", [None, read_filters(["source=a.md"])])
def test_a_collection_that_is_replaced_or_shrinks_while_it_is_open_answers_on(
        mode, filters, project):
    site, manifest = project / "store", Manifest("m", "sha256:m", 2, 200, 1)
    filled(create_store(site, "documents", manifest), 1, 2)
    store = open_store(site, "documents")
    lexical = None if mode == "dense" else build_index(store.passages())
    retriever = Retriever(store, Same(), lexical=lexical, mode=mode, filters=filters)

    def found():
        return {p.id for p in retriever.rank(["text"], 5, -1.0)[0]}

    assert found() == {"id1", "id2"}
    filled(stage(site, "documents", manifest), 2, 3, 4)
    publish(site, "documents")
    assert found() == {"id2", "id3", "id4"}
    open_store(site, "documents").delete(["id2", "id3"])
    assert found() == {"id4"}
    assert store.count() == 1 and [p.id for p in store.passages()] == ["id4"]
    filled(stage(site, "documents", replace(manifest, fingerprint="sha256:other")), 4)
    publish(site, "documents")
    with pytest.raises(StoreError, match=r"another embedder meanwhile\. Run the same again"):
        found()


@pytest.mark.parametrize("filters", [None, read_filters(["source=a.md"])])
def test_words_are_those_of_the_collection_that_took_its_place(filters, project, monkeypatch):
    monkeypatch.setattr("phi3kit.ingest.embed.open_embedder", lambda *_, **__: Same())
    values = settings.load({"ask.retrieval": "lexical", "ingest.embedder": "same",
                            "ask.filters": ("source=a.md",) if filters else ()}).values
    site, manifest = Path(values.ingest.store), Manifest("same", "sha256:m", 2, 200, 1)
    filled(create_store(site, "documents", manifest), 1, 2)
    retriever = open_retriever(values)

    def found(text):
        return {p.id for p in retriever.rank([text], 5, -1.0)[0]}

    assert (found("1"), found("3")) == ({"id1"}, set())
    filled(stage(site, "documents", manifest), 2, 3)
    publish(site, "documents")
    assert (found("3"), found("1"), found("text")) == ({"id3"}, set(), {"id2", "id3"})


def test_a_collection_that_is_removed_while_it_is_open_is_told_without_a_rebuild(project):
    filled(create_store(project / "store", "documents", Manifest("m", "sha256:m", 2, 200, 1)), 1)
    store = open_store(project / "store", "documents")
    with contextlib.closing(connect(project / "store")) as client:
        client.delete_collection("documents")
    with pytest.raises(StoreError, match=r"removed meanwhile\. Run the same again"):
        store.query(Same().encode(["?"]), 1)


def test_the_ordinary_question_is_asked_once():
    index = Index([passage(str(n), 0.9 - n / 100) for n in range(9)])
    assert len(retrieve(index, ["?"], 5, 0.0)[0]) == 5
    assert len(retrieve(index, ["?"], 5, 0.88)[0]) == 3
    assert index.asked == [9, 9]


def test_equal_scores_are_ordered_by_place():
    index = Index([passage("late", 0.5, start=50), passage("early", 0.5, start=10)])
    assert [p.id for p in retrieve(index, ["?"], 2, 0.0)[0]] == ["early", "late"]


def test_all_questions_are_embedded_at_once():
    index = Index([passage("a", 0.9)], [passage("b", 0.9)])
    found = retrieve(index, ["one?", "two?"], 1, 0.0)
    assert [ps[0].id for ps in found] == ["a", "b"]
    assert index.encoded == [["one?", "two?"]]
    assert retrieve(index, [], 1, 0.0) == []


class Words:
    """An index of words with the result given."""

    def __init__(self, *found: list[str]) -> None:
        self.found = list(found)

    def search(self, questions: list[str], depth: int) -> list[list[str]]:
        return self.found


class Shelf(Index):
    """An index whose passages can be fetched, each at a cosine of 0.2."""

    def encode(self, texts: list[str]):
        return np.ones((len(texts), 1), dtype=np.float32)

    def nearest(self, vectors: list[str], k: int, only: None) -> list[dict[str, float]]:
        return [{p.id: p.score for p in found} for found in self.found]

    def fetch(self, ids: list[str]):
        return {id_: (passage(id_, 0.0), np.full(1, 0.2, dtype=np.float32)) for id_ in ids}


def test_hybrid_joins_both_rankings_and_tells_the_cosine():
    index = Shelf([passage("a", 0.9), passage("b", 0.8)])
    retriever = Retriever(index, index, lexical=Words(["b", "w"]), mode="hybrid")
    found = retriever.retrieve(["?"], 3, 0.3)[0]
    assert [p.id for p in found] == ["b", "a", "w"]
    assert [p.score for p in found] == pytest.approx([0.8, 0.9, 0.2])
    assert retriever.fingerprint != Retriever(index, index).fingerprint


def test_lexical_takes_the_order_of_the_words():
    index = Shelf([passage("a", 0.9), passage("b", 0.8)])
    retriever = Retriever(index, index, lexical=Words(["w", "b"]), mode="lexical")
    assert [p.id for p in retriever.retrieve(["?"], 3, 0.3)[0]] == ["w", "b"]


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
def test_words_alone_do_not_make_a_question_answerable(mode):
    index = Shelf([passage("a", 0.29)])
    retriever = Retriever(index, index, lexical=Words(["w"]), mode=mode)
    assert retriever.retrieve(["?"], 3, 0.3) == [()]


def test_without_a_collection_the_error_says_what_to_run(project: Path):
    with pytest.raises(StoreError, match="phi3kit ingest"):
        open_retriever(settings.load().values)


DOCUMENTS = {
    "seals.md": "# Seals\n\nThe K-310 seal is made of Viton and is checked every 14 days.\n",
    "winches.md": "# Winches\n\nThe W-12 winch takes marine grease No. 4.\n",
    "copy.md": "# Winches\n\nThe W-12 winch takes marine grease No. 4.\n",
    "flood.md": "# Flood\n\nAt flood level amber the south gate stays closed.\n",
}


@pytest.mark.model
def test_real_chroma_and_minilm_find_the_document(project: Path):
    from phi3kit.ingest.reconcile import ingest

    (project / "docs").mkdir()
    for name, text in DOCUMENTS.items():
        (project / "docs" / name).write_text(text, encoding="utf-8")
    values = settings.load({"ingest.corpus": ("docs",)}).values
    ingest(values)
    retriever = open_retriever(values)
    found = retriever.retrieve(
        ["What is the K-310 seal made of?", "Which grease does the W-12 take?",
         "What is the capital of Mongolia?"], 2, values.ask.min_similarity)
    assert found[0][0].source == "docs/seals.md"
    assert [p.source for p in found[1] if "grease" in p.text] in (
        ["docs/copy.md"], ["docs/winches.md"])
    assert found[2] == ()
    assert all(p.score is not None and -1 <= p.score <= 1 for ps in found for p in ps)
    assert retriever.fingerprint == open_retriever(values).fingerprint

    part = "Which one is the K-310?"
    fetched = retriever.retrieve([part], 4, 0.0)[0]
    dense = open_retriever(settings.load({"ingest.corpus": ("docs",),
                                          "ask.retrieval": "dense"}).values)
    cosines = {p.text: p.score for p in dense.retrieve([part], 4, -1.0)[0]}
    least = values.ask.min_similarity
    near = dense.retrieve(["What is the K-310 seal made of?"], 4, least)[0]
    assert near and all(p.score is not None and p.score >= least for p in near)
    assert all(p.score == pytest.approx(cosines[p.text], abs=1e-4) for p in fetched)
    words = open_retriever(settings.load({"ask.retrieval": "lexical"}).values)
    assert words.retrieve([part], 1, 0.0)[0][0].source == "docs/seals.md"

    other = make_other_embedder(project / "other")
    with pytest.raises(StoreError, match=r"(?s)'minilm'.*other"):
        open_retriever(settings.load({"ingest.embedder": str(other)}).values)


def make_other_embedder(folder: Path) -> Path:
    """MiniLM with one number changed: other vectors by another fingerprint."""
    import json
    import shutil

    from phi3kit.models.packaged import minilm

    shutil.copytree(minilm(), folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "layer_norm_eps": 1e-6}))
    return folder


def test_the_embedder_that_was_built_with_is_the_default_but_a_provider_has_to_be_named():
    assert embedder_name("minilm", "./mine") == "./mine"
    assert embedder_name("./other", "./mine") == "./other"
    assert embedder_name("minilm", "https://host/v1#m") == "minilm"
