"""A text is embedded and stored once, wherever and however often it stands."""

from __future__ import annotations

import shutil

import pytest
from holdings import FOLDER, exact, held, places

from phi3kit.ingest.rows import Place, Row, passage_of, places_of
from phi3kit.ingest.store import Store, open_store
from phi3kit.report.terminal_ingest import counts


def paragraphs(*numbers):
    """A document of one heading, cut into a chunk for the first lines and one for each number."""
    return ("# Pumps\n\nAll of our pumps are listed here, with their pressure and the time that a "
            "seal lasts in them.\n\n") + "\n\n".join(
        f"The pump K{n} runs at {n} bar, and its seal lasts {n}00 hours when it is greased."
        for n in numbers)


def test_a_moved_and_a_renamed_file_cost_nothing(ingest, docs, words):
    ingest("docs")
    seen, vectors = len(words.seen), {row[0]: row[3] for row in exact()}
    (docs / "sub" / "cranes.md").rename(docs / "cranes.md")
    (docs / "pumps.md").rename(docs / "lifts.md")
    report = ingest("docs")
    assert report.added == ("docs/cranes.md", "docs/lifts.md")
    assert report.deleted == ("docs/pumps.md", "docs/sub/cranes.md")
    assert report.chunks_embedded == report.chunks_deleted == 0 and len(words.seen) == seen
    assert {row[0]: row[3] for row in exact()} == vectors
    assert set(places()) == {"docs/cranes.md", "docs/gates.txt", "docs/lifts.md"}


def test_an_edit_at_the_beginning_embeds_nothing_of_what_follows(ingest, docs):
    path = docs / "pumps.md"
    path.write_text(paragraphs(*range(1, 10)))
    ingest("docs", chunk_tokens=32)
    before = places()["docs/pumps.md"]
    path.write_text(paragraphs(77, *range(1, 10)))
    report = ingest("docs", chunk_tokens=32)
    assert len(before) == 10 and report.chunks_embedded == 1 and report.chunks_deleted == 0
    text = path.read_text()
    found = [p for p in open_store(FOLDER, "documents").passages() if p.source == "docs/pumps.md"]
    assert len(found) == 11 and all(text[p.start:p.end] == p.text for p in found)


def test_text_that_moves_from_one_file_to_another_is_not_embedded_again(ingest, docs, monkeypatch):
    monkeypatch.setattr("phi3kit.ingest.batch._CHUNKS", 1)  # the files in different groups
    (docs / "a.md").write_text(paragraphs(1, 2, 3))
    (docs / "b.md").write_text(paragraphs(4))
    ingest("docs", chunk_tokens=32)
    (docs / "a.md").write_text(paragraphs(1))
    (docs / "b.md").write_text(paragraphs(2, 3, 4))
    report = ingest("docs", chunk_tokens=32)
    assert report.changed == ("docs/a.md", "docs/b.md")
    assert report.chunks_embedded == report.chunks_deleted == 0


def test_copies_are_stored_once_with_all_their_sources(ingest, docs):
    ingest("docs")
    for name in ("a.md", "z.md"):
        shutil.copy(docs / "pumps.md", docs / name)
    report = ingest("docs")
    assert len(report.added) == 2 and report.chunks_embedded == 0 and report.chunks == 3
    store = open_store(FOLDER, "documents")
    passage = next(p for p in store.passages() if "marine grease" in p.text)
    assert passage.sources == ("docs/a.md", "docs/pumps.md", "docs/z.md")
    assert passage.source == "docs/a.md"
    for source in passage.sources:
        assert [row.id for row in store.rows_of([source])] == [passage.id]
    assert len(list(store.rows_of(list(passage.sources)))) == 1


def test_a_passage_remains_while_one_of_its_sources_does(ingest, docs):
    for name in ("a.md", "z.md"):
        shutil.copy(docs / "pumps.md", docs / name)
    ingest("docs")
    for name, left in (("a.md", ["pumps.md", "z.md"]), ("z.md", ["pumps.md"]), ("pumps.md", [])):
        (docs / name).unlink()
        report = ingest("docs")
        assert report.deleted == (f"docs/{name}",)
        assert report.chunks_deleted == (not left) and report.chunks_embedded == 0
        found = [p.sources for p in open_store(FOLDER, "documents").passages() if "K7" in p.text]
        assert found == ([tuple(f"docs/{one}" for one in left)] if left else [])


def test_a_text_that_stands_twice_in_a_file(ingest, docs):
    path = docs / "twice.md"
    path.write_text(paragraphs(1, 2, 1, 3, 1))
    report = ingest("docs", chunk_tokens=32)
    assert report.chunks == 3 + 4
    assert places()["docs/twice.md"][1:] == path.read_text().split("\n\n")[2:]
    path.write_text(paragraphs(1, 2, 3))
    assert ingest("docs", chunk_tokens=32).changed == ("docs/twice.md",)
    assert len(places()["docs/twice.md"]) == 4
    (FOLDER / "documents.state.json").unlink()
    assert len(ingest("docs", chunk_tokens=32).unchanged) == 4


def test_equal_text_under_another_heading_is_another_passage(ingest, docs):
    (docs / "a.md").write_text("# Pumps\n\nGrease it daily.\n")
    (docs / "b.md").write_text("# Cranes\n\nGrease it daily.\n")
    assert ingest("docs").chunks == 3 + 2


def test_files_that_swap_their_texts(ingest, docs):
    ingest("docs")
    before = {row[0]: row[3] for row in exact()}
    one, other = docs / "pumps.md", docs / "sub" / "cranes.md"
    texts = one.read_text(), other.read_text()
    other.write_text(texts[0])
    one.write_text(texts[1])
    report = ingest("docs")
    assert report.changed == ("docs/pumps.md", "docs/sub/cranes.md")
    assert report.chunks_embedded == 0 and {row[0]: row[3] for row in exact()} == before
    assert "12 tonnes" in places()["docs/pumps.md"][0]


def test_a_file_saved_anew_without_a_change_of_its_text(ingest, docs):
    ingest("docs")
    path = docs / "gates.txt"
    path.write_text(path.read_text() + "\n")
    report = ingest("docs")
    assert report.changed == ("docs/gates.txt",) and report.chunks_embedded == 0
    assert len(ingest("docs").unchanged) == 3


def test_the_order_of_files_does_not_show(ingest, docs):
    """Copies that come one by one and copies that come at once give the same collection."""
    ingest("docs")
    for name in ("z.md", "a.md"):
        shutil.copy(docs / "pumps.md", docs / name)
        ingest("docs")
    one_by_one = exact()
    ingest("docs", collection="at-once")
    assert exact("at-once") == one_by_one
    fingerprints = {open_store(FOLDER, name).fingerprint for name in ("documents", "at-once")}
    assert len(fingerprints) == 1


def test_the_fingerprint_tells_where_a_text_stands(ingest, docs):
    ingest("docs")
    first = open_store(FOLDER, "documents").fingerprint
    (docs / "pumps.md").rename(docs / "lifts.md")
    ingest("docs")
    assert open_store(FOLDER, "documents").fingerprint != first


def test_no_prune_keeps_what_is_gone(ingest, docs):
    ingest("docs")
    (docs / "gates.txt").unlink()
    report = ingest("docs", prune=False)
    assert not report.deleted and len(report.unchanged) == 2 and len(held()) == 3
    assert ingest("docs").deleted == ("docs/gates.txt",)


def test_a_file_with_several_problems_failed_once(ingest, docs):
    (docs / "log.jsonl").write_text('{"a": "b"}\n{\n[\n')
    report = ingest("docs", "docs/lost.md")
    assert sorted(f.where for f in report.failed) == [
        "docs/log.jsonl, line 2", "docs/log.jsonl, line 3", "docs/lost.md"]
    assert counts(report) == {
        "added": 4, "changed": 0, "unchanged": 0, "deleted": 0, "failed": 2}


@pytest.mark.parametrize("known", [True, False])
def test_problems_are_told_without_a_write(known, ingest, docs, monkeypatch):
    (docs / "log.jsonl").write_text('{"a": "one"}\n{oops\n')
    ingest("docs")
    if not known:
        (FOLDER / "documents.state.json").unlink()
    for write in ("add", "relabel", "delete"):
        monkeypatch.setattr(Store, write, lambda *a: pytest.fail("wrote"))
    report = ingest("docs")
    assert [f.where for f in report.failed] == ["docs/log.jsonl, line 2"]
    assert report.changed == () and "docs/log.jsonl" in report.unchanged


@pytest.mark.parametrize("page", [None, 3])
def test_a_row_is_read_back_as_it_was_written(page):
    where = (Place("a\u2028\"b.md", 1, 5, page, "A > B", "f" * 64, 3, 1),
             Place("c.md", 7, 11, None, "", "e" * 64, 1, 0))
    row = Row("x", "A > B\n", "text", where)
    meta = {key: value for key, value in row.metadata().items() if value is not None}
    assert places_of(meta) == where
    passage = passage_of("x", "text", meta, 0.5)
    assert (passage.source, passage.page, passage.sources) == (
        "a\u2028\"b.md", page, ("a\u2028\"b.md", "c.md"))
