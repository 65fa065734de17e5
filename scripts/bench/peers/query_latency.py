"""Queries on one store: `python query_latency.py FOLDER QUESTIONS SIZE…`.

The store is filled through Store.add, to each SIZE in turn, with synthetic vectors (384
dimensions, around 500 centres) and texts of 30 words: longer ones take minutes to store. On it,
question by question and in turns: Chroma's own collection.query, and Retriever.retrieve with the
question's vector at hand ("dense"), with BM25 beside it ("hybrid"), and each of the three with
the question embedded first ("embedded"), as a user's question is. Prints seconds at p50 and p95
of each, and how long it takes to open the retriever.
"""

import json
import sys
import time
from pathlib import Path

import chromadb
import numpy as np
from chromadb.config import Settings

from phi3kit.ingest.embed import open_embedder
from phi3kit.ingest.manifest import Manifest
from phi3kit.ingest.rows import Place, Row
from phi3kit.ingest.store import create_store
from phi3kit.rag.lexical import open_index
from phi3kit.rag.retrieve import Retriever

K, DIMENSION, WORDS, LEAST = 8, 384, 30, -1.0


class AtHand:
    """An embedder that has the vectors of the questions."""

    def __init__(self, vectors):
        self._vectors = vectors

    def encode(self, texts, *, advance=None):
        return np.stack([self._vectors[text] for text in texts])


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def rows(start, count, random, vocabulary):
    for number in range(start, start + count):
        text = " ".join(random.choice(vocabulary, WORDS))
        place = Place(f"file{number // 2:06}.txt", 0, len(text), None, "", "0" * 64, 2, 0)
        yield Row(f"{number:032x}", "", text, (place,))


def timed(call):
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def measure(calls, questions):
    """Seconds of each call, p50 and p95; who goes first changes with each question."""
    seconds = {name: [] for name in calls}
    order = list(calls)
    for at, question in enumerate(questions):
        order = order[1:] + order[:1]
        for name in order:
            spent = timed(lambda name=name: calls[name](question))  # noqa: B023
            if at >= 5:  # the first ones fill caches
                seconds[name].append(spent)
    return {name: dict(zip(("p50", "p95"), np.percentile(values, (50, 95)).tolist(), strict=True))
            for name, values in seconds.items()}


def at_size(folder, store, embedder, questions, vectors):
    own = chromadb.PersistentClient(
        path=str(folder.resolve()), settings=Settings(anonymized_telemetry=False)
    ).get_collection("documents", embedding_function=None)
    opened = time.perf_counter()
    dense = Retriever(store, AtHand(vectors))
    opened = time.perf_counter() - opened
    words = time.perf_counter()
    lexical = open_index(folder / "documents.words", store.fingerprint, store.passages())
    words = time.perf_counter() - words
    hybrid = Retriever(store, AtHand(vectors), lexical=lexical, mode="hybrid")
    whole = Retriever(store, embedder)
    whole_hybrid = Retriever(store, embedder, lexical=lexical, mode="hybrid")
    return {"open_seconds": opened, "words_seconds": words, **measure({
        "chroma": lambda q: own.query(query_embeddings=vectors[q][None], n_results=K),
        "dense": lambda q: dense.retrieve([q], K, LEAST),
        "chroma_embedded": lambda q: own.query(query_embeddings=embedder.encode([q]),
                                               n_results=K),
        "dense_embedded": lambda q: whole.retrieve([q], K, LEAST),
        "hybrid": lambda q: hybrid.retrieve([q], K, LEAST),
        "hybrid_embedded": lambda q: whole_hybrid.retrieve([q], K, LEAST),
    }, questions)}


def main():
    folder, count, sizes = Path(sys.argv[1]), int(sys.argv[2]), [int(n) for n in sys.argv[3:]]
    random = np.random.default_rng(7)
    vocabulary = np.array([f"word{n:05}" for n in range(20_000)])
    centres = random.normal(size=(500, DIMENSION))

    def some(n):
        return unit(centres[random.integers(0, 500, n)] + random.normal(size=(n, DIMENSION)))

    embedder = open_embedder("minilm")
    store = create_store(folder, "documents", Manifest(
        "minilm", embedder.fingerprint, DIMENSION, 200, 1))
    questions = [" ".join(random.choice(vocabulary, 8)) + "?" for _ in range(count + 5)]
    vectors = dict(zip(questions, some(len(questions)), strict=True))
    found, held = {}, 0
    for size in sizes:
        started = time.perf_counter()
        while held < size:
            step = min(5_000, size - held)
            store.add(list(rows(held, step, random, vocabulary)), some(step))
            held += step
        store.forget_fingerprint()  # else the index of words would be that of the last size
        filled = time.perf_counter() - started
        found[str(size)] = {"fill_seconds": filled,
                            **at_size(folder, store, embedder, questions, vectors)}
    print(json.dumps(found))


main()
