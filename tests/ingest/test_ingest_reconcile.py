from __future__ import annotations

import os
import shutil
import socket
import uuid
from pathlib import Path

import pytest
from holdings import FOLDER, held
from word_embedder import WordEmbedder

from phi3kit.errors import DataError, ModelError, SettingsError, StoreError
from phi3kit.ingest import batch, difference, lock, walk, writer
from phi3kit.ingest.store import Store, create_store, open_store
from phi3kit.ingest.workers import Readers

LONG = "The K7 runs at 6 bar; its seal lasts 400 hours. " * 40


def test_first_ingest(ingest, docs):
    report = ingest("docs")
    assert report.added == ("docs/gates.txt", "docs/pumps.md", "docs/sub/cranes.md")
    assert report.chunks == report.chunks_embedded == len(held()) == 3
    assert report.tokens > 30 and not report.failed
    for source, start, end, text, *_ in held():
        assert (docs.parent / source).read_text()[start:end] == text


def test_twice_changes_nothing(ingest, docs, words, monkeypatch):
    ingest("docs")
    before, seen = held(), len(words.seen)
    for write in ("add", "relabel", "delete"):
        monkeypatch.setattr(Store, write, lambda *a: pytest.fail("wrote"))
    report = ingest("docs")
    assert len(report.unchanged) == 3 and not (report.added or report.changed or report.deleted)
    assert report.chunks == 3 and report.chunks_embedded == report.chunks_deleted == 0
    assert held() == before and len(words.seen) == seen


def test_what_is_unchanged_waits_for_no_disk(ingest, docs, monkeypatch):
    ingest("docs")
    monkeypatch.setattr(os, "fsync", lambda handle: pytest.fail("flushed"))
    assert len(ingest("docs").unchanged) == 3


def test_an_edited_file_replaces_its_chunks_and_keeps_the_rest(ingest, docs, words):
    path = docs / "pumps.md"
    path.write_text(f"# A\n\n{LONG}\n\n# B\n\nold words\n")
    ingest("docs", chunk_tokens=100)
    seen = len(words.seen)
    path.write_text(f"# A\n\n{LONG}\n\n# B\n\nnew words\n")
    report = ingest("docs", chunk_tokens=100)
    assert report.changed == ("docs/pumps.md",) and len(report.unchanged) == 2
    assert report.chunks_embedded == len(words.seen) - seen < 3  # the others were recognised
    assert report.chunks_deleted == report.chunks_embedded
    texts = " ".join(row[3] for row in held())
    assert "new words" in texts and "old words" not in texts


def test_a_removed_file_goes_and_a_moved_one_moves(ingest, docs):
    ingest("docs")
    (docs / "gates.txt").unlink()
    (docs / "sub" / "cranes.md").rename(docs / "lifts.md")
    report = ingest("docs")
    assert report.deleted == ("docs/gates.txt", "docs/sub/cranes.md")
    assert report.added == ("docs/lifts.md",)
    assert {row[0] for row in held()} == {"docs/pumps.md", "docs/lifts.md"}


def test_another_folder_prunes_nothing_of_the_first(ingest, docs, project):
    other = project / "docs2"
    other.mkdir()
    (other / "x.md").write_text("# X\n\nextra\n")
    ingest("docs")
    assert not ingest("docs2").deleted
    assert not ingest("docs/sub").deleted
    assert len({row[0] for row in held()}) == 4


def test_a_named_file_that_is_gone(ingest, docs):
    ingest("docs")
    (docs / "gates.txt").unlink()
    assert ingest("docs/gates.txt").deleted == ("docs/gates.txt",)
    again = ingest("docs/gates.txt")
    assert [f.why for f in again.failed] == ["no such file or folder"]


def test_a_named_file_on_a_disk_that_is_not_there_today_keeps_its_chunks(ingest, docs):
    ingest("docs/sub/cranes.md")
    (docs / "sub").rename(docs / "elsewhere")
    report = ingest("docs/sub/cranes.md")
    assert not report.deleted and "nor the folder" in report.failed[0].why
    assert len(held()) == 1
    (docs / "elsewhere").rename(docs / "sub")
    assert ingest("docs/sub/cranes.md").unchanged == ("docs/sub/cranes.md",)


def test_a_folder_that_is_gone_is_a_failure_and_loses_nothing(ingest, docs):
    ingest("docs")
    shutil.rmtree(docs)
    report = ingest("docs")
    assert [f.where for f in report.failed] == ["docs"] and not report.deleted
    assert "the 3 documents that the collection holds of it stay" in report.failed[0].why
    assert len(held()) == 3
    docs.mkdir()  # what it says takes them out
    assert len(ingest("docs").deleted) == 3


def test_a_file_that_became_unreadable_keeps_its_chunks(ingest, docs):
    ingest("docs")
    (docs / "gates.txt").write_bytes(bytes(range(256)))
    report = ingest("docs")
    assert [f.where for f in report.failed] == ["docs/gates.txt"]
    assert not report.deleted and len(held()) == 3


def test_a_folder_that_cannot_be_listed_keeps_its_chunks(ingest, docs, monkeypatch):
    ingest("docs")
    real = os.scandir

    def refuse(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = ingest("docs")
    assert [(f.where, f.why) for f in report.failed] == [("docs/sub", "permission denied")]
    assert not report.deleted and len(held()) == 3


@pytest.mark.parametrize(("owner", "name"), [("difference", "sha256_file"), ("Readers", "read")])
def test_a_file_that_vanishes_on_the_way_keeps_its_chunks(owner, name, ingest, docs, monkeypatch):
    ingest("docs")
    (docs / "gates.txt").write_text("edited")

    def vanish(real):
        def read(*args):
            if args[-1].name == "gates.txt":
                raise FileNotFoundError(2, "No such file or directory")
            return real(*args)
        return read

    target = difference if owner == "difference" else Readers
    monkeypatch.setattr(target, name, vanish(getattr(target, name)))
    report = ingest("docs")
    assert [f.where for f in report.failed] == ["docs/gates.txt"] and len(held()) == 3
    assert report.unchanged == ("docs/pumps.md", "docs/sub/cranes.md")


def test_equal_text_in_two_files_is_citable_in_both(ingest, docs):
    shutil.copy(docs / "gates.txt", docs / "copy.txt")
    ingest("docs")
    text = (docs / "gates.txt").read_text().strip()
    assert [row[0] for row in held() if row[3] == text] == ["docs/copy.txt", "docs/gates.txt"]


def test_sources_outside_of_the_working_folder_are_absolute(ingest, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "note.txt"
    outside.write_text("A note.")
    assert ingest(str(outside)).added == (outside.as_posix(),)
    assert not ingest(str(outside.parent)).added


@pytest.mark.parametrize("here", [".", "docs", "docs/sub", "elsewhere"])
@pytest.mark.parametrize("named", ["docs", ".", "docs/../docs/sub"])
def test_files_of_folders_are_named_as_if_given_one_by_one(here, named, docs, project,
                                                           monkeypatch):
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / here)
    given = os.path.relpath(project / named)
    found = walk.walk([given], project / "store")
    assert len(found.files) == (1 if named.endswith("sub") else 3)
    for source, path in found.files.items():
        assert source == walk.source_of(path)
        assert (Path.cwd() / source).samefile(path)


def test_a_link_into_a_hidden_folder_is_told(ingest, docs):
    (docs / ".shared" / "deep").mkdir(parents=True)
    (docs / ".shared" / "deep" / "a.md").write_text("Hidden words.")
    (docs / "shared").symlink_to(".shared/deep")
    (docs / "again").symlink_to("sub")
    report = ingest("docs")
    assert [(failure.where, failure.why[:27]) for failure in report.failed] == [
        ("docs/shared", "a link into a hidden folder")]
    assert len(report.added) == 3


def test_owner_files_of_office_are_left_out_of_folders(ingest, docs, monkeypatch):
    (docs / "~$pumps.docx").write_bytes(b"\x05Owner" + bytes(157))
    report = ingest("docs")
    assert len(report.added) == 3 and report.failed == ()
    monkeypatch.chdir(docs)  # as a shell's * names them
    report = ingest(*sorted(os.listdir()))
    assert [failure.where for failure in report.failed] == ["~$pumps.docx"]


def test_hostile_folder(ingest, docs, project):
    (docs / "empty.md").touch()
    (docs / "binary.txt").write_bytes(os.urandom(3000) + b"\x00")
    (docs / "not.pdf").write_text("not at all")
    (docs / "broken.md").symlink_to(docs / "nowhere.md")
    (docs / "loop.md").symlink_to(docs / "loop.md")
    (docs / "up").symlink_to(docs)
    (docs / "escape.txt").symlink_to("/etc/hostname")
    os.mkfifo(docs / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(docs / "s.txt"))
    (docs / b"bad\xff.md".decode("utf-8", "surrogateescape")).write_text("x")
    (docs / "esc\x1b[31m.md").write_text("x")
    (docs / ".git").mkdir()
    (docs / ".git" / "hidden.md").write_text("x")
    (docs / "image.png").write_bytes(b"\x89PNG")
    report = ingest("docs", "docs/image.png")
    assert len(report.added) == 3
    whys = {f.where.removeprefix("docs/"): f.why for f in report.failed}
    assert whys.pop("image.png").startswith("no reader for '.png'")
    assert whys == {
        "empty.md": "the file is empty", "binary.txt": "binary data, not text",
        "not.pdf": "the content is no PDF, though the name says '.pdf'",
        "broken.md": "a link that points at nothing", "loop.md": "a link that leads to itself",
        "up": "a link to a folder that it lies in",
        "escape.txt": "a link out of the folder; name its target to ingest it",
        "pipe.txt": "a named pipe, not a file", "s.txt": "a device or socket, not a file",
        "bad\\udcff.md": "the name is not printable UTF-8; rename the file to cite it",
        "esc\\x1b[31m.md": "the name is not printable UTF-8; rename the file to cite it",
    }


def test_folders_may_nest_as_deep_as_the_system_lets_them(project):
    deep = "docs" + "/d" * 1100
    folder = project / "docs"
    for _ in range(1101):
        folder.mkdir()
        folder /= "d"
    for name in ("docs/a.md", "docs/e.md", f"{deep}/last.md"):
        (project / name).write_text("# A\n\nWords.\n")
    found = walk.walk(["docs"], FOLDER)
    (project / deep / "last.md").unlink()
    os.removedirs(project / deep)  # or it would be in the way of whoever clears up
    assert list(found.files) == ["docs/a.md", f"{deep}/last.md", "docs/e.md"]
    assert found.failed == []


def test_the_store_inside_of_the_corpus_is_left_out(ingest, docs):
    report = ingest("docs", store="docs/store")
    assert len(report.added) == 3
    (docs / "store" / "x.md").write_text("not a document")
    assert not ingest("docs", store="docs/store").added


def test_a_problem_inside_of_a_file_is_told_again_and_nothing_is_embedded_again(ingest, docs):
    (docs / "log.jsonl").write_text('{"a": "one"}\n{oops\n')
    for expected in (4, 0):
        report = ingest("docs")
        assert [f.where for f in report.failed] == ["docs/log.jsonl, line 2"]
        assert report.chunks_embedded == expected and report.chunks == 4
    assert report.changed == ()


def test_a_link_inside_of_the_folder_is_a_document(ingest, docs):
    (docs / "also.md").symlink_to("pumps.md")
    assert "docs/also.md" in ingest("docs").added


@pytest.mark.parametrize(("wanted", "what"), [
    ({"chunk_tokens": 100}, "chunk_tokens 200, not 100"),
    ({"embedder": "other"}, "embedder 'minilm', not 'other'"),
    ({}, "other weights of the embedder 'minilm'"),
])
def test_another_build_is_refused_before_any_write(ingest, docs, words, wanted, what):
    ingest("docs")
    before = held()
    if "chunk_tokens" not in wanted:
        words.fingerprint = "sha256:other"
    (docs / "gates.txt").unlink()
    with pytest.raises(StoreError, match=rf"{what}\. Run phi3kit ingest --rebuild"):
        ingest("docs", **wanted)
    assert held() == before
    assert ingest("docs", collection="second", **wanted).chunks == 2


def test_too_long_chunks_are_refused_before_any_write(ingest, docs):
    with pytest.raises(SettingsError, match="254"):
        ingest("docs", chunk_tokens=255)
    assert not (FOLDER / "chroma.sqlite3").exists()


@pytest.mark.parametrize("name", ["../up", "a b c", "-ab", "émile"])
def test_a_name_that_no_collection_can_have(name, ingest, docs):
    with pytest.raises(SettingsError, match=r"cannot name a collection.* at least 3 letters"):
        ingest("docs", collection=name)
    assert not FOLDER.exists()


def test_the_store_is_no_document(ingest, docs):
    ingest("docs")
    assert [f.why for f in ingest(".phi3kit/store").failed] == ["this is the store itself"]


def test_paths_that_overlap_count_once(ingest, docs):
    (docs / "empty.md").touch()
    (docs / "broken.md").symlink_to("nowhere")
    report = ingest("docs", "docs/sub", "docs/../docs", "docs/broken.md")
    assert len(report.added) == 3 and len(report.failed) == 2


def test_nothing_given(ingest):
    with pytest.raises(DataError, match="nothing to ingest"):
        ingest()


def test_corpus_from_the_settings(ingest, docs):
    assert len(ingest(corpus=("docs",)).added) == 3


def test_one_writer_at_a_time(ingest, docs):
    ingest("docs")
    with lock.writer(FOLDER), pytest.raises(StoreError, match=f"process {os.getpid()}"):
        ingest("docs")
    assert len(ingest("docs").unchanged) == 3


def test_readers_need_no_lock(ingest, docs):
    ingest("docs")
    with lock.writer(FOLDER):
        assert open_store(FOLDER, "documents").count() == 3


def test_a_lost_state_is_learnt_from_chroma(ingest, docs, words):
    ingest("docs")
    seen = len(words.seen)
    state = FOLDER / "documents.state.json"
    first = state.read_text()
    for damage in (state.unlink, lambda: state.write_text("{"), lambda: state.write_text("{}")):
        damage()
        assert len(ingest("docs").unchanged) == 3
        assert state.read_text() == first
    assert len(words.seen) == seen


def test_a_collection_deleted_by_others_is_filled_again(ingest, docs):
    ingest("docs")
    import chromadb

    client = chromadb.PersistentClient(str(FOLDER))
    client.delete_collection("documents")
    assert len(ingest("docs").added) == 3 == len(held())


def test_chunks_deleted_by_others_are_brought_back(ingest, docs):
    ingest("docs")
    before = held()
    open_store(FOLDER, "documents").delete([before[0][-1]])
    report = ingest("docs")
    assert report.chunks_embedded == 1 and held() == before


def test_groups_are_committed_one_after_the_other(ingest, docs, words, monkeypatch):
    """An interrupted run keeps what it had done; the next one does the rest only."""
    monkeypatch.setattr(batch, "_CHUNKS", 1)
    real = WordEmbedder.encode

    def stop(self, texts, **more):
        if len(self.seen) == 2:
            raise KeyboardInterrupt
        return real(self, texts, **more)

    monkeypatch.setattr(WordEmbedder, "encode", stop)
    with pytest.raises(KeyboardInterrupt):
        ingest("docs")
    monkeypatch.setattr(WordEmbedder, "encode", real)
    report = ingest("docs")
    assert report.chunks_embedded == 1 and len(report.unchanged) == 2 and report.chunks == 3


def test_store_answers_and_fails_in_one_line(ingest, docs, words, project):
    with pytest.raises(StoreError, match="there is no store"):
        open_store(FOLDER, "documents")
    assert not FOLDER.exists()
    ingest("docs")
    store = open_store(FOLDER, "documents")
    best = store.query(words.encode(["marine grease number four", "12 tonnes crane"]), 2)
    assert [found[0].source for found in best] == ["docs/pumps.md", "docs/sub/cranes.md"]
    assert all(1 >= a.score >= b.score >= -1 for a, b in best)
    assert store.query(words.encode([]), 2) == []
    assert len(store.query(words.encode(["x"]), 99)[0]) == 3
    with pytest.raises(StoreError, match="no such collection; there is documents"):
        open_store(FOLDER, "nope")
    with pytest.raises(StoreError):
        create_store(FOLDER, "documents", store.manifest)
    (FOLDER / "chroma.sqlite3").write_bytes(b"not a database" * 100)


def test_the_fingerprint_is_of_content(ingest, docs):
    ingest("docs")
    first = open_store(FOLDER, "documents").fingerprint
    ingest("docs", collection="again")
    assert open_store(FOLDER, "again").fingerprint == first
    (docs / "gates.txt").write_text("Else.")
    ingest("docs")
    assert open_store(FOLDER, "documents").fingerprint != first


def test_what_was_embedded_of_a_large_file_is_kept_when_the_rest_fails(ingest, docs, words,
                                                                       monkeypatch):
    monkeypatch.setattr(writer, "_AT_ONCE", 2)
    ingest("docs")
    texts = [f"Bolt {n} of the gate is greased in week {n}. " * 15 for n in range(7)]
    (docs / "large.md").write_text("\n\n".join(f"# {n}\n\n{text}" for n, text in enumerate(texts)))
    encode, calls = words.encode, []

    def out_of_quota(asked, *, advance=None):
        calls.append(len(asked))
        if len(calls) == 3:
            raise ModelError("the quota is used up")
        return encode(asked, advance=advance)

    monkeypatch.setattr(words, "encode", out_of_quota)
    before = len(words.seen)
    with pytest.raises(ModelError, match="quota"):
        ingest("docs")
    assert calls == [2, 2, 2] and len(words.seen) - before == 4
    report = ingest("docs")
    assert report.changed == ("docs/large.md",) and report.chunks_embedded == len(texts) - 4


def test_folders_of_others_in_the_store_are_left_alone(ingest, docs):
    """Chroma names its indexes' folders by UUIDs; others may do so too."""
    ingest("docs")
    theirs, left = FOLDER / str(uuid.uuid4()), FOLDER / str(uuid.uuid4())
    for folder, name in ((theirs, "notes.txt"), (left, "header.bin")):
        folder.mkdir()
        (folder / name).write_text("x")
    ingest("docs", rebuild=True)
    assert (theirs / "notes.txt").read_text() == "x"
    assert not left.exists()  # an index that Chroma left behind
