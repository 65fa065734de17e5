"""Names of documents are relative to a working folder: two of them do not share a collection."""

from __future__ import annotations

import shutil

import pytest
from holdings import FOLDER, held

from phi3kit.errors import StoreError
from phi3kit.ingest.project import claimed
from phi3kit.ingest.site import Server


@pytest.fixture
def folder_of(project, monkeypatch):
    """Makes a project folder with one document and works in it."""

    def enter(name, text=None):
        folder = project / name
        if text is not None:
            (folder / "docs").mkdir(parents=True)
            (folder / "docs" / f"{name}.md").write_text(f"# {name}\n\n{text}\n")
        monkeypatch.chdir(folder)
        return folder

    return enter


@pytest.mark.parametrize("how", [{}, {"rebuild": True}, {"preview": True}])
def test_another_folders_documents_are_not_taken_for_ours(how, folder_of, project, ingest):
    shared = str(project / "shared")
    first = folder_of("one", "The crane lifts 12 tonnes.")
    ingest("docs", store=shared)
    folder_of("two", "The gate is checked every day.")
    with pytest.raises(StoreError, match=rf"'docs/one\.md', are named from {first}.*--collection"):
        ingest("docs", store=shared, **how)
    assert len(ingest("docs", store=shared, collection="two").added) == 1
    folder_of("one")
    assert len(ingest("docs", store=shared).unchanged) == 1


def test_absolute_names_share_a_collection(folder_of, project, ingest):
    shared = str(project / "shared")
    folder_of("one", "The crane lifts 12 tonnes.")
    ingest("docs", store=shared)
    folder_of("two", "The gate is checked every day.")
    folder_of("two/docs")
    outside = str(project / "two" / "docs" / "two.md")
    (project / "elsewhere").mkdir()
    folder_of("elsewhere")
    assert ingest(outside, store=shared).added == (outside,)
    folder_of("one")
    report = ingest("docs", store=shared)
    assert (len(report.unchanged), report.deleted) == (1, ())


def test_a_project_that_moves_with_its_store_goes_on(folder_of, project, ingest, words):
    first = folder_of("one", "The crane lifts 12 tonnes.")
    ingest("docs")
    shutil.copytree(first, project / "copy")
    first.rename(project / "moved")
    seen = len(words.seen)
    for name in ("moved", "copy"):
        folder_of(name)
        assert len(ingest("docs").unchanged) == 1
        assert (len(words.seen), len(held())) == (seen, 1)


def test_a_project_that_moved_away_from_its_store_goes_on(folder_of, project, ingest):
    shared = str(project / "shared")
    first = folder_of("one", "The crane lifts 12 tonnes.")
    ingest("docs", store=shared)
    first.rename(project / "moved")
    folder_of("moved")
    assert len(ingest("docs", store=shared).unchanged) == 1
    # From now on it is this folder's: a new one in the former place is another.
    folder_of("one", "The gate is checked every day.")
    with pytest.raises(StoreError, match=r"named from .*moved"):
        ingest("docs", store=shared)


def test_a_subfolder_is_not_the_project(folder_of, ingest):
    folder = folder_of("one", "The crane lifts 12 tonnes.")
    ingest("docs")
    folder_of("one/docs")
    with pytest.raises(StoreError, match="named from"):
        ingest(".", store=str(folder / FOLDER))


def test_a_folder_above_the_working_one_is_mirrored_too(folder_of, ingest):
    folder = folder_of("one", "The crane lifts 12 tonnes.")
    (folder / "docs" / "two.md").write_text("# two\n\nThe gate is checked every day.\n")
    (folder / "above.md").write_text("# above\n\nThe lamp burns from dusk on.\n")
    folder_of("one/docs")
    above = str(folder / "above.md")
    assert set(ingest("..").added) == {"one.md", "two.md", above}
    (folder / "docs" / "two.md").unlink()
    report = ingest("..")
    assert (report.deleted, len(report.unchanged)) == (("two.md",), 2)
    (folder / "docs" / "one.md").unlink()
    assert ingest("..", rebuild=True).deleted == ("one.md",)
    assert {row[0] for row in held()} == {above}


@pytest.fixture
def built(folder_of, project, ingest):
    """A collection of the folder `one`, with its store in it; returns the store."""
    folder = folder_of("one", "The crane lifts 12 tonnes.")
    (folder / "docs" / "two.md").write_text("# two\n\nThe gate is checked every day.\n")
    ingest("docs", "docs/one.md")
    (project / "elsewhere").mkdir()
    return folder / FOLDER


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("rebuild", [False, True])
def test_a_document_has_one_name_from_whatever_folder(
        rebuild, link, built, folder_of, project, ingest):
    store = str(built)
    (project / "link").symlink_to(project / "one")
    docs = project / ("link" if link else "one") / "docs"
    folder_of("elsewhere")
    assert set(ingest(str(docs), store=store).unchanged) == {"docs/one.md", "docs/two.md"}
    (docs / "two.md").unlink()
    (docs / "new.md").write_text("# new\n\nThe lamp burns from dusk on.\n")
    report = ingest(str(docs), str(docs / "lost.md"), store=store, rebuild=rebuild)
    assert report.deleted == ("docs/two.md",)
    assert [failure.where for failure in report.failed] == ([] if rebuild else ["docs/lost.md"])
    folder_of("one")
    assert set(ingest("docs").unchanged) == {"docs/one.md", "docs/new.md"}
    assert {row[0] for row in held()} == {"docs/one.md", "docs/new.md"}


def test_a_folder_that_holds_the_project_covers_it(built, folder_of, project, ingest):
    (project / "one" / "docs" / "two.md").unlink()
    folder_of("elsewhere")
    assert ingest(str(project), store=str(built)).deleted == ("docs/two.md",)


def test_the_working_folder_may_be_named_through_a_link(built, project, ingest):
    (project / "link").symlink_to(project / "one")
    assert set(ingest(str(project / "link" / "docs")).unchanged) == {"docs/one.md", "docs/two.md"}


@pytest.mark.parametrize("given", ["docs", "docs/one.md"])
@pytest.mark.parametrize("rebuild", [False, True])
def test_a_document_that_was_ingested_from_elsewhere_first_is_renamed(
        rebuild, given, folder_of, project, ingest):
    folder = folder_of("one", "The crane lifts 12 tonnes.")
    (project / "elsewhere").mkdir()
    folder_of("elsewhere")
    ingest(str(folder / "docs"), store=str(folder / FOLDER))
    folder_of("one")
    report = ingest(given, rebuild=rebuild, prune=given == "docs")
    assert report.added == ("docs/one.md",)
    assert report.deleted == (str(folder / "docs" / "one.md"),)
    assert report.chunks_embedded == rebuild and report.chunks == 1
    assert [row[0] for row in held()] == ["docs/one.md"]


@pytest.mark.parametrize(("change", "mend"), [
    (lambda docs: (docs / "two.md").unlink(), "Leave out --no-prune"),
    (lambda docs: docs.rename(docs.parent / "away"), "Bring 'docs' back"),
    (lambda docs: [(docs / "two.md").unlink(), (docs / "two.md").symlink_to("nothing")],
     r"See to it that 'docs/two\.md' can be read"),
    (lambda docs: None, "Give their paths too")])
def test_a_rebuild_that_would_lose_documents_tells_what_to_do(
        change, mend, built, project, ingest):
    docs = project / "one" / "docs"
    change(docs)
    given = ["docs"] if "Give" not in mend else ["docs/one.md"]
    with pytest.raises(StoreError, match=mend):
        ingest(*given, rebuild=True, prune=False)


def test_on_a_server_a_folder_of_another_machine_counts_as_there(folder_of):
    server = Server("host", 8000, ssl=False)
    here = folder_of("one", "The crane lifts 12 tonnes.")

    def claim(held, project="/on/another/machine"):
        return claimed(project, server, held=held, ours=["docs"], where="documents")

    assert claim(["docs/one.md"]) == here.as_posix()  # the same project, checked out here
    with pytest.raises(StoreError, match="named from /on/another/machine"):
        claim(["docs/two.md", "docs/three.md", "docs/one.md"])
    assert claim(["docs/two.md"], "") == claim(["/docs/two.md"]) == here.as_posix()
