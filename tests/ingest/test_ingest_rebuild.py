"""--rebuild: the old collection answers until the new one is complete."""

from __future__ import annotations

import json

import pytest
from holdings import FOLDER, exact, held, places
from word_embedder import WordEmbedder

from phi3kit.errors import StoreError
from phi3kit.ingest import swap
from phi3kit.ingest.client import connect, staged_name
from phi3kit.ingest.store import Store, create_store, open_store


def collections():
    client = connect(FOLDER)
    names = sorted(found.name for found in client.list_collections())
    client.close()
    return names


def index_folders():
    return [path for path in FOLDER.iterdir() if path.is_dir()]


def test_a_rebuild_takes_the_place_of_the_old_one(ingest, docs, words):
    ingest("docs")
    before = open_store(FOLDER, "documents").manifest
    words.fingerprint = "sha256:other"
    (docs / "gates.txt").unlink()
    report = ingest("docs", rebuild=True, chunk_tokens=100)
    assert len(report.added) == 2 and report.deleted == ("docs/gates.txt",)
    assert report.chunks == report.chunks_embedded == report.verified == 2
    now = open_store(FOLDER, "documents").manifest
    assert (now.fingerprint, now.chunk_tokens) == ("sha256:other", 100) != (
        before.fingerprint, before.chunk_tokens)
    assert set(places()) == {"docs/pumps.md", "docs/sub/cranes.md"}
    assert collections() == ["documents"] and len(index_folders()) <= 1
    assert len(ingest("docs", chunk_tokens=100).unchanged) == 2


def test_the_old_one_answers_meanwhile(ingest, docs, words, monkeypatch):
    ingest("docs")
    before = exact()
    words.fingerprint = "sha256:other"
    real, seen = WordEmbedder.encode, []

    def look(self, texts, **more):
        seen.append(exact() == before)
        return real(self, texts, **more)

    monkeypatch.setattr(WordEmbedder, "encode", look)
    ingest("docs", rebuild=True)
    assert seen == [True]


@pytest.mark.parametrize("again", [True, False])
def test_a_rebuild_that_is_interrupted_leaves_the_old_one(again, ingest, docs, words, monkeypatch):
    ingest("docs")
    before = exact()

    def stop(self, rows, vectors):
        real(self, rows, vectors)
        raise KeyboardInterrupt

    real = Store.add
    monkeypatch.setattr(Store, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        ingest("docs", rebuild=True)
    monkeypatch.setattr(Store, "add", real)
    assert exact() == before and len(collections()) == 2
    seen = len(words.seen)
    report = ingest("docs", rebuild=again)
    assert exact() == before and collections() == ["documents"]
    assert len(report.unchanged) == (0 if again else 3)
    assert len(words.seen) - seen == (3 if again else 0)


def test_once_it_is_complete_it_is_the_one_that_answers(ingest, docs, words, monkeypatch):
    """Killed between the mark and the housekeeping: the next run finishes it."""
    ingest("docs")
    words.fingerprint = "sha256:other"
    real = swap._settle

    def stop(client, collection, names):
        if (client.get_collection(staged_name(collection)).metadata or {}).get(swap.READY):
            raise KeyboardInterrupt
        real(client, collection, names)

    monkeypatch.setattr(swap, "_settle", stop)
    with pytest.raises(KeyboardInterrupt):
        ingest("docs", rebuild=True)
    assert len(collections()) == 2
    assert open_store(FOLDER, "documents").manifest.fingerprint == "sha256:other"
    monkeypatch.setattr(swap, "_settle", real)
    assert len(ingest("docs").unchanged) == 3
    assert collections() == ["documents"] and len(held()) == 3


def test_a_rebuild_of_nothing_is_a_first_ingest(ingest, docs):
    assert len(ingest("docs", rebuild=True).added) == 3 == len(held())


def test_a_rebuild_of_an_empty_folder_is_empty(ingest, docs):
    ingest("docs")
    for path in [path for path in docs.rglob("*") if path.is_file()]:
        path.unlink()
    report = ingest("docs", rebuild=True)
    assert len(report.deleted) == 3 and report.chunks == 0 and held() == []


@pytest.mark.parametrize("wanted", [{}, {"prune": False}])
def test_what_the_paths_do_not_hold_is_not_lost_in_silence(wanted, ingest, docs):
    ingest("docs")
    before = exact()
    if wanted:
        (docs / "gates.txt").unlink()
    paths = ("docs",) if wanted else ("docs/sub",)
    what = "1 documents" if wanted else "2 documents"
    with pytest.raises(StoreError, match=f"it also holds {what} .* such as 'docs/gates.txt'"):
        ingest(*paths, rebuild=True, **wanted)
    assert exact() == before


def test_a_folder_that_is_gone_is_no_reason_to_lose_it(ingest, docs):
    ingest("docs")
    docs.rename("elsewhere")
    with pytest.raises(StoreError, match="also holds 3 documents"):
        ingest("docs", rebuild=True)
    assert len(held()) == 3


def former(project):
    """A collection as the first format of the manifest left it."""
    client = connect(FOLDER)
    made = client.create_collection("documents", embedding_function=None, metadata={
        "phi3kit": json.dumps({"format": 1, "embedder": "minilm"})})
    made.add(ids=["x"], embeddings=[[1.0, 0.0]], documents=["old"],
             metadatas=[{"source": "docs/pumps.md", "start": 0, "end": 3}])
    client.close()


def test_a_collection_of_a_former_format_is_refused_and_rebuilt(ingest, docs, project):
    FOLDER.mkdir(parents=True)
    former(project)
    with pytest.raises(StoreError, match=r"another version of phi3kit \(format 1, not 2\).*--reb"):
        ingest("docs")
    with pytest.raises(StoreError, match="--rebuild"):
        open_store(FOLDER, "documents")
    assert len(ingest("docs", rebuild=True).added) == 3 == len(held())


def test_a_collection_of_others_is_left_alone(ingest, docs):
    FOLDER.mkdir(parents=True)
    client = connect(FOLDER)
    client.create_collection("documents", embedding_function=None).add(
        ids=["x"], embeddings=[[1.0, 0.0]], documents=["theirs"])
    client.close()
    for rebuild in (False, True):
        with pytest.raises(StoreError, match=r"not built by phi3kit\. Give another --collection"):
            ingest("docs", rebuild=rebuild)
    assert collections() == ["documents"]


def test_the_index_of_a_deleted_collection_is_removed_and_no_other_folder(ingest, docs):
    ingest("docs")
    ingest("docs", collection="other")
    (FOLDER / "notes").mkdir()
    for _ in range(3):
        ingest("docs", rebuild=True)
    assert collections() == ["documents", "other"]
    assert len(held("other")) == 3 and (FOLDER / "notes").is_dir()
    assert len(index_folders()) <= 3


def test_the_manifest_tells_what_it_was_built_with(ingest, docs):
    ingest("docs")
    manifest = open_store(FOLDER, "documents").manifest
    assert (manifest.embedder, manifest.fingerprint) == ("minilm", "sha256:words")
    assert (manifest.dimension, manifest.distance, manifest.normalized) == (256, "cosine", True)
    assert manifest.chunk_tokens == 200 and manifest.chunker >= 1
    assert {"phi3kit", "chromadb"} <= set(manifest.versions)


def test_another_distance_is_refused(ingest, docs):
    import dataclasses

    ingest("docs")
    manifest = open_store(FOLDER, "documents").manifest
    create_store(FOLDER, "other", dataclasses.replace(manifest, distance="l2"))
    with pytest.raises(StoreError, match=r"distance 'l2'.*--rebuild"):
        ingest("docs", collection="other")
