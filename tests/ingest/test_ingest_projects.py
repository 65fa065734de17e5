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


def test_on_a_server_a_folder_of_another_machine_counts_as_there(folder_of):
    server = Server("host", 8000, ssl=False)
    here = folder_of("one", "The crane lifts 12 tonnes.")

    def claim(held, project="/on/another/machine"):
        return claimed(project, server, held=held, ours=["docs"], where="documents")

    assert claim(["docs/one.md"]) == here.as_posix()  # the same project, checked out here
    with pytest.raises(StoreError, match="named from /on/another/machine"):
        claim(["docs/two.md", "docs/three.md", "docs/one.md"])
    assert claim(["docs/two.md"], "") == claim(["/docs/two.md"]) == here.as_posix()
