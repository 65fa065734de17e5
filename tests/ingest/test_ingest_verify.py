"""Every chunk is found by its own vector, or the index is built anew."""

from __future__ import annotations

import contextlib
import sqlite3

import numpy as np
import pytest
from chromadb.api.client import Client
from holdings import FOLDER, exact

from phi3kit import settings
from phi3kit.errors import StoreError
from phi3kit.ingest import lock, mend, verify
from phi3kit.ingest.damaged import is_damaged
from phi3kit.ingest.faults import ReplacedError, UnreadableError
from phi3kit.ingest.health import check_index
from phi3kit.ingest.manifest import Manifest
from phi3kit.ingest.rows import Place, Row
from phi3kit.ingest.store import Store, create_store, open_store
from phi3kit.records import Check

SIZE = 32


def rows(count):
    return [Row(f"id{n}", "", f"text {n}", (Place("a.md", n, n + 1, None, "", "f" * 64, count, 0),))
            for n in range(count)]


def clustered(rng, count):
    """Unit vectors in four tight clusters."""
    centers = np.random.default_rng(0).normal(size=(4, SIZE))
    found = centers[rng.integers(0, 4, count)] + 0.02 * rng.normal(size=(count, SIZE))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def unreachable(monkeypatch):
    """Hides chunks from every search of a collection, until its index is built anew."""
    real, publish = Store.nearest_ids, verify.publish
    lost = set()

    def near(self, vectors, k):
        staged = self._collection.name != "documents"
        return [[(id_, distance) for id_, distance in found if staged or id_ not in lost]
                for found in real(self, vectors, k)]

    def published(*args):
        lost.clear()
        publish(*args)

    monkeypatch.setattr(Store, "nearest_ids", near)
    monkeypatch.setattr(verify, "publish", published)
    return lost


def test_what_overwriting_cut_off_is_found_again(project):
    """Overwriting vectors does it to Chroma's graph, within some rounds."""
    store = create_store(FOLDER, "documents", Manifest("m", "sha256:m", SIZE, 200, 1))
    rng, held = np.random.default_rng(0), rows(300)
    for _ in range(300):
        vectors = clustered(rng, len(held))
        store.add(held, vectors)
        if missing := verify.verify(store).missing:
            break
    else:
        raise AssertionError("the index held: overwriting harms it no longer, and this can go")
    lost = vectors[[int(id_[2:]) for id_ in missing]]
    for id_, near in zip(missing, store.nearest_ids(lost, 10), strict=True):
        assert id_ not in dict(near) and near[-1][1] > 1e-5
    store.close()
    checked = verify.reindex(FOLDER, "documents")
    assert (checked.chunks, checked.looked, checked.missing) == (300, 300, ())
    again = open_store(FOLDER, "documents")
    assert again.manifest.dimension == SIZE and verify.verify(again).missing == ()
    for found, theirs in again.with_vectors():
        numbers = [int(row.id[2:]) for row in found]
        assert [rows(300)[n] for n in numbers] == found
        np.testing.assert_allclose(theirs, vectors[numbers], atol=1e-6)


def test_doctor_mends_it(ingest, docs, unreachable):
    ingest("docs")
    before = exact()
    unreachable.add(before[0][0])
    wanted = settings.load().values.ingest
    assert check_index(wanted) == Check("index", True, (
        "3 chunks of 'documents' looked for by their own vectors: 1 not found; the index was "
        "built anew"))
    assert check_index(wanted).found.endswith("vectors: all found") and exact() == before
    assert len(ingest("docs").unchanged) == 3


def test_doctor_leaves_it_to_a_writer(ingest, docs, unreachable):
    ingest("docs")
    unreachable.add(exact()[0][0])
    with lock.writer(FOLDER):
        check = check_index(settings.load().values.ingest)
    assert check.ok is False and "another process is writing" in check.found


def test_doctor_without_a_collection(project):
    assert check_index(settings.load().values.ingest).ok is None
    assert not FOLDER.exists()


def test_a_run_that_wrote_mends_it(ingest, docs, unreachable, words, monkeypatch):
    ingest("docs")
    before = exact()
    unreachable.add(before[0][0])
    assert ingest("docs").verified == 0  # nothing was written
    (docs / "more.md").write_text("More.")
    reindex, before_it, released = verify.reindex, words.released, []
    monkeypatch.setattr(verify, "reindex", lambda *given: (
        released.append(words.released - before_it), reindex(*given))[1])
    report = ingest("docs")
    assert released == [1]  # the weights are not in memory beside both indexes
    assert report.reindexed and report.verified == report.chunks == 4 and not report.failed
    assert set(before) < set(exact()) and len(exact()) == 4
    assert len(ingest("docs").unchanged) == 4


def test_what_no_index_finds_is_told(ingest, docs, monkeypatch):
    real = Store.nearest_ids
    monkeypatch.setattr(Store, "nearest_ids", lambda self, vectors, k: [
        [("other", 0.5)] for _ in vectors])
    report = ingest("docs")
    assert report.failed[0].why == ("3 of 3 chunks are not found by their own vectors, even in a "
                                    "new index")
    monkeypatch.setattr(Store, "nearest_ids", real)
    assert len(exact()) == 3


def test_equal_vectors_are_no_reason_to_build_anew(project):
    store = create_store(FOLDER, "documents", Manifest("m", "sha256:m", SIZE, 200, 1))
    store.add(rows(200), np.repeat(clustered(np.random.default_rng(1), 1), 200, axis=0))
    assert verify.verify(store).missing == ()


def test_large_collections_are_sampled(project, monkeypatch):
    monkeypatch.setattr(verify, "ALL_UP_TO", 100)
    monkeypatch.setattr("phi3kit.ingest.store._VECTORS", 50)
    store = create_store(FOLDER, "documents", Manifest("m", "sha256:m", SIZE, 200, 1))
    store.add(rows(400), clustered(np.random.default_rng(1), 400))
    assert verify.verify(store) == verify.Verified(400, 100, (), (), 16)
    store.close()
    assert "100 of 400 chunks, at random, of" in check_index(settings.load().values.ingest).found


def test_an_index_that_lost_its_files_is_told_in_one_line(ingest, docs):
    """What is beyond mending has a way out."""
    ingest("docs")
    (FOLDER / "chroma.sqlite3").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError):
        check_index(settings.load().values.ingest)


@pytest.fixture
def filled(docs, monkeypatch):
    """The documents, with enough text that Chroma writes the index to disk: by default it does so
    at a thousand chunks, here at forty."""
    real = Client.create_collection

    def create(self, name, configuration, **rest):
        configuration["hnsw"]["sync_threshold"] = 40
        return real(self, name, configuration=configuration, **rest)

    monkeypatch.setattr(Client, "create_collection", create)
    (docs / "many.txt").write_text("\n\n".join(
        f"Pump {n} runs at {n} bar and its seal lasts {n}00 hours in the lock."
        for n in range(60)))
    return docs


def torn(pattern):
    """Cuts a file of the index off in the middle, as a kill or a full disk does."""
    path = next(FOLDER.glob(f"*/{pattern}"))
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


@pytest.mark.parametrize("pattern", ["index_metadata.pickle", "data_level0.bin", "header.bin"])
def test_an_index_that_cannot_be_read_is_embedded_anew(pattern, ingest, filled, words, capsys):
    """Also texts of documents that the run is not about."""
    ingest("docs", chunk_tokens=32)
    before = exact()
    assert len(before) > 40
    torn(pattern)
    words.estimate = lambda tokens: f"about {tokens} tokens are paid"
    seen = len(words.seen)
    report = ingest("docs/sub", chunk_tokens=32)  # whose documents did not change
    assert len(report.unchanged) == 1 and exact() == before
    assert report.embedded_again == report.chunks_embedded == report.verified == len(before)
    said = capsys.readouterr().err
    assert "the index of 'documents' cannot be read" in said and "tokens are paid" in said
    assert sorted(words.seen[seen:]) == sorted(words.seen[:seen])
    assert len(ingest("docs", chunk_tokens=32).unchanged) == 4


def test_an_index_that_was_only_copied_is_looked_at_once(ingest, filled):
    ingest("docs", chunk_tokens=32)
    path = next(FOLDER.glob("*/data_level0.bin"))
    path.write_bytes(path.read_bytes())
    first, second = (ingest("docs", chunk_tokens=32) for _ in range(2))
    assert first.verified == first.chunks > 40 and first.chunks_embedded == 0
    assert second.verified == 0 and len(second.unchanged) == 4


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(path.read_bytes()[:100]),
    lambda path: path.write_bytes(b"not a database" * 100)])
def test_a_database_that_cannot_be_read_is_put_aside_by_a_rebuild(damage, ingest, docs, capsys):
    ingest("docs")
    before = exact()
    damage(FOLDER / "chroma.sqlite3")
    left = (FOLDER / "chroma.sqlite3").read_bytes()
    with pytest.raises(StoreError, match="--rebuild, which puts it aside"):
        ingest("docs")
    assert len(ingest("docs", rebuild=True, preview=True).added) == 3
    assert len(ingest("docs", rebuild=True).added) == 3 and exact() == before
    aside = next(FOLDER.glob("damaged-*"))
    assert (aside / "chroma.sqlite3").read_bytes() == left
    assert str(aside) in capsys.readouterr().err
    ingest("docs", rebuild=True)
    assert len(list(FOLDER.glob("damaged-*"))) == 1


def test_a_database_that_is_locked_is_not_damaged(ingest, docs):
    ingest("docs")
    with contextlib.closing(sqlite3.connect(FOLDER / "chroma.sqlite3")) as held:
        held.execute("BEGIN EXCLUSIVE")
        assert not is_damaged(FOLDER)


def test_a_rebuild_does_not_need_the_old_index(ingest, filled):
    ingest("docs", chunk_tokens=32)
    before = exact()
    torn("index_metadata.pickle")
    with pytest.raises(StoreError, match=r"index cannot be read\. Run phi3kit ingest"):
        ingest("docs", chunk_tokens=32, rebuild=True, preview=True)
    ingest("docs", chunk_tokens=32, rebuild=True)
    assert exact() == before


def test_files_of_the_working_folder_are_not_what_reads_the_index(ingest, docs, project):
    ingest("docs")
    for name in ("random", "queue", "chromadb"):
        (project / f"{name}.py").write_text("raise SystemExit(3)\n")
    assert mend.readable(FOLDER, "documents")


@pytest.mark.parametrize(("code", "sound"), [
    ("import chromadb_of_nobody", None), ("import os; os.kill(os.getpid(), 9)", None),
    ("raise SystemExit(2)", None), ("import os; os.kill(os.getpid(), 11)", False),
    ("raise SystemExit(3)", False)])
def test_an_index_is_damaged_only_if_it_was_read_and_could_not(code, sound, project, monkeypatch):
    monkeypatch.setattr(mend, "_PROBE", code)
    if sound is None:
        with pytest.raises(StoreError, match="the index was left as it is"):
            mend.readable(FOLDER, "documents")
    else:
        assert mend.readable(FOLDER, "documents") is sound


@pytest.mark.parametrize(("said", "kind"), [
    ("Error loading hnsw index", UnreadableError), ("database is locked", StoreError),
    ("Too many open files (os error 24)", StoreError),
    ("Permission denied (os error 13)", StoreError),
    ("Collection [documents] does not exist", ReplacedError)])
def test_only_what_speaks_of_the_files_calls_them_damaged(said, kind, ingest, docs, monkeypatch):
    ingest("docs")
    monkeypatch.setattr(
        "chromadb.api.models.Collection.Collection.get", lambda *_, **__: failed(said))
    with pytest.raises(StoreError) as told:
        mend.read_all(FOLDER, "documents")
    assert type(told.value) is kind and said in f"{told.value} {told.value.__cause__}"


def failed(said):
    raise RuntimeError(said)


def test_a_disk_with_little_room_is_left_alone(ingest, docs, monkeypatch):
    ingest("docs")
    before = exact()
    monkeypatch.setattr("phi3kit.ingest.faults._ROOM", 2 ** 60)
    (docs / "more.md").write_text("# More\n\nMore.\n")
    with pytest.raises(StoreError, match=r"the disk is full: .* MiB are left\. Make room"):
        ingest("docs")
    monkeypatch.setattr("phi3kit.ingest.faults._ROOM", 0)
    assert exact() == before
    assert ingest("docs").added == ("docs/more.md",)


def test_doctor_finds_an_index_that_cannot_be_read(ingest, filled):
    ingest("docs", chunk_tokens=32)
    before = exact()
    torn("data_level0.bin")
    wanted = settings.load().values.ingest
    check = check_index(wanted)
    assert check.ok is False and "cannot be read" in check.found and "ingest" in check.mend
    assert len(ingest("docs", chunk_tokens=32).unchanged) == 4
    assert exact() == before and check_index(wanted).ok


def test_what_is_hard_to_find_gets_a_denser_graph_and_then_rest(project, monkeypatch):
    """Not cut off, but outranked: a new index is built with more links, and not ever again."""
    store = create_store(FOLDER, "documents", Manifest("m", "sha256:m", SIZE, 200, 1))
    store.add(rows(400), clustered(np.random.default_rng(1), 400))
    store.close()
    real = Store.nearest_ids
    monkeypatch.setattr(Store, "nearest_ids", lambda self, vectors, k: [
        [(id_, d) for id_, d in near if id_ != "id7" or k > 10] for near in real(self, vectors, k)])
    first = verify.verify(open_store(FOLDER, "documents"))
    assert (first.missing, first.cut_off, first.mendable) == (("id7",), (), True)
    again = verify.reindex(FOLDER, "documents")
    assert (again.missing, again.neighbors, again.mendable) == (("id7",), 64, False)
    assert open_store(FOLDER, "documents").neighbors == 64 and again.complaint == ""
    assert check_index(settings.load().values.ingest).ok
