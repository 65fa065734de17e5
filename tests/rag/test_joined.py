"""Both rankings joined: what is found by reading little is what is found by reading all."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from phi3kit.ingest.manifest import Manifest
from phi3kit.ingest.rows import Place, Row
from phi3kit.ingest.store import Store, create_store
from phi3kit.rag.filters import Filters, read_filters
from phi3kit.rag.fusion import head_first
from phi3kit.rag.lexical import LexicalIndex, build_index
from phi3kit.rag.retrieve import Retriever
from phi3kit.records import Passage

MODES = ("lexical", "hybrid")


def reading_all(near: list[Passage], words: list[str], rest: dict[str, Passage], k: int,
                mode: str) -> list[str]:
    """IDs of the first `k`: every passage is looked at before the rankings are joined.

    `rest` are the passages that words found and that are still there.
    """
    known = {**rest, **{p.id: p for p in near}}
    close = sorted(near, key=lambda p: (-(p.score or 0.0), p.source, p.start))
    shared = [id_ for id_ in words if id_ in known]
    order = shared if mode == "lexical" else head_first([[p.id for p in close], shared], 10)
    once: dict[str, str] = {}
    for id_ in order:
        once.setdefault(" ".join(known[id_].text.split()), id_)
    return list(once.values())[:k]


class Given:
    """A store, an embedder and an index of words whose findings are given."""

    fingerprint = "sha256:given"

    def __init__(self, near: list[Passage], words: list[str], there: dict[str, Passage]) -> None:
        self.near, self.words, self.there = near, words, there
        self.read: list[list[str]] = []

    def count(self) -> int:
        return len(self.near)

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.ones((len(texts), 1), dtype=np.float32)

    def nearest(self, vectors: np.ndarray, k: int, only: None) -> list[dict[str, float]]:
        return [{p.id: p.score or 0.0 for p in self.near} for _ in vectors]

    def search(self, questions: list[str], depth: int) -> list[list[str]]:
        return [self.words for _ in questions]

    def fetch(self, ids: list[str]) -> dict[str, tuple[Passage, np.ndarray]]:
        self.read.append(ids)
        return {id_: (self.there[id_], np.full(1, 0.2)) for id_ in ids if id_ in self.there}

    def find(self, k: int, mode: str, least: float = -1.0) -> list[str]:
        retriever = Retriever(self, self, lexical=self, mode=mode)  # type: ignore[arg-type]
        return [p.id for p in retriever.rank(["?"], k, least)[0]]


def some(rng: random.Random) -> Given:
    """Twenty passages, found by both rankings at random; some are gone, some are alike."""
    texts, scores = rng.choice((3, 99)), rng.choice((3, 9999))
    ids = [f"p{at}" for at in range(20)]
    there = {id_: Passage(id_, f"text\n{rng.randrange(texts)}", rng.choice("abc"),
                          rng.randrange(50), 50) for id_ in ids}
    near = [Passage(id_, there[id_].text, there[id_].source, there[id_].start, 50,
                    score=rng.randrange(scores) / scores)
            for id_ in rng.sample(ids, rng.randint(1, 14))]
    words = rng.sample(ids, rng.randint(0, 14))
    for id_ in set(words).difference(p.id for p in near):
        if rng.random() < 0.3:
            del there[id_]
    return Given(near, words, there)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_read_would_have_changed_nothing(mode):
    for seed in range(1000):
        given, k = some(random.Random(seed)), random.Random(seed).choice((1, 3, 8, 20))
        rest = {id_: given.there[id_] for id_ in given.words if id_ in given.there}
        assert given.find(k, mode) == reading_all(given.near, given.words, rest, k, mode), seed


def shelf(near: str, words: str) -> Given:
    there = {id_: Passage(id_, f"text {id_}", "a.md", ord(id_), 200) for id_ in near + words}
    return Given([Passage(id_, f"text {id_}", "a.md", ord(id_), 200, score=1 - at / 100)
                  for at, id_ in enumerate(near)], list(words), there)


def test_only_the_first_are_read_and_all_at_once():
    given = shelf("abcdefghijkl", "mnopqrstuvwx")
    assert given.find(8, "hybrid") == list("ambncodp")
    assert given.read == [sorted("ambncodp")]
    given.read.clear()
    assert given.find(3, "lexical") == list("mno")
    assert given.read == [list("mno")]


def test_nothing_is_read_where_nothing_is_near():
    given = shelf("abc", "xyz")
    assert given.find(3, "hybrid", least=1.5) == [] and given.read == []


def test_a_passage_that_is_gone_leaves_its_rank_to_the_next():
    given = shelf("abc", "xyb")  # b is third by words, second once x is gone
    assert given.find(1, "hybrid") == ["b"]
    del given.there["x"], given.there["y"]
    given.near[1:] = [Passage("c", "text c", "a.md", 99, 200, score=0.9),
                      Passage("b", "text b", "a.md", 98, 200, score=0.8)]
    given.words = list("xyba")
    assert given.find(4, "hybrid") == ["a", "b", "c"]
    assert {"x", "y"} <= set(given.read[-2])


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class AtHand:
    """An embedder that has the vectors of the questions."""

    def __init__(self, vectors: dict[str, np.ndarray]) -> None:
        self._vectors = vectors

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.stack([self._vectors[text] for text in texts])


def formerly(store: Store, vectors: np.ndarray, lexical: LexicalIndex, questions: list[str],
             k: int, mode: str, filters: Filters | None,
             ) -> list[list[tuple[str, float, str, int]]]:
    """ID, score, source and start of what is found, from Store.query and one Store.fetch.

    Twice as deep again while equal texts leave fewer than `k`.
    """
    places = None if filters is None else store.matching(filters.match)
    size = store.count() if places is None else len(places)
    told = []
    for vector, question in zip(vectors, questions, strict=True):
        depth = max(10, k + 4)
        while True:
            (found,) = store.query(vector[None], depth, None if places is None else list(places))
            (words,) = (lexical.search([question], depth) if places is None else
                        lexical.search([question], depth, places))
            held = store.fetch(sorted(set(words)))
            at = {p.id: p for p in [*(p for p, _ in held.values()), *found]}
            if places is not None:
                at = {id_: Passage(id_, p.text, places[id_].source, places[id_].start, p.end,
                                   score=p.score) for id_, p in at.items()}
            first = reading_all([at[p.id] for p in found], words,
                                {id_: at[id_] for id_ in held}, k, mode)
            full = len(words) >= depth or (mode == "hybrid" and len(found) >= depth)
            if len(first) >= k or not full or depth >= size:
                break
            depth = min(2 * depth, size)
        scores = {p.id: p.score for p in found}
        told.append([(id_, scores[id_] if id_ in scores else float(held[id_][1] @ vector),
                      at[id_].source, at[id_].start) for id_ in first])
    return told


@pytest.mark.parametrize("given", [(), ("source=north",)])
def test_on_chroma_it_is_what_reading_all_finds(tmp_path: Path, given: tuple[str, ...]):
    rng, numbers = random.Random(0), np.random.default_rng(0)
    words = [f"w{at}" for at in range(15)]
    store = create_store(tmp_path / "store", "documents", Manifest("m", "sha256:m", 16, 200, 1))
    vectors = unit(numbers.normal(size=(150, 16)))
    vectors[20:40] = vectors[:20]  # equal similarities
    rows = [Row(f"{at:032x}", "", " ".join(rng.choices(words, k=rng.randint(1, 6))),
                (Place(rng.choice(("north/a.md", "south/a.md")), 10 * at, 10 * at + 9, None, "",
                       "0" * 64, 1, 0), Place("z/north.md", at, at + 1, None, "", "0" * 64, 1, 0)))
            for at in range(150)]
    store.add(rows, vectors)
    lexical = build_index(store.passages())
    questions = [" ".join(rng.choices([*words, "unknown"], k=rng.randint(0, 4))) + f" ?{at}"
                 for at in range(40)]
    asked = unit(np.concatenate([vectors[:20], numbers.normal(size=(20, 16))]))
    filters = read_filters(given) if given else None
    for gone in (0, 30):
        store.delete([row.id for row in rng.sample(rows, gone)])
        for mode in MODES:
            retriever = Retriever(store, AtHand(dict(zip(questions, asked, strict=True))),
                                  lexical=lexical, mode=mode, filters=filters)
            for k in (2, 8):
                assert [[(p.id, p.score, p.source, p.start) for p in found]
                        for found in retriever.rank(questions, k, -1.0)] == formerly(
                            store, asked, lexical, questions, k, mode, filters)


def test_similarities_are_those_of_the_passages(tmp_path: Path):
    store = create_store(tmp_path / "store", "documents", Manifest("m", "sha256:m", 8, 200, 1))
    vectors = unit(np.random.default_rng(0).normal(size=(30, 8)))
    store.add([Row(f"{at:032x}", "", f"text {at}", (Place("a.md", at, at + 1, None, "", "0" * 64,
                                                          1, 0),)) for at in range(30)], vectors)
    some = [f"{at:032x}" for at in range(0, 30, 3)]
    for only in (None, some):
        assert [list(found.items()) for found in store.nearest(vectors[:5], 4, only)] == [
            [(p.id, p.score) for p in found] for found in store.query(vectors[:5], 4, only)]
