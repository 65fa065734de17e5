"""What building a collection took is kept when one run built it, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

from phi3kit.ingest.built import Built, keep_built, read_built
from phi3kit.ingest.site import site_of
from phi3kit.records import IngestReport

STORE, NAME = Path(".phi3kit/store"), "documents"


def test_a_build_from_nothing_is_kept(docs, ingest) -> None:  # type: ignore[no-untyped-def]
    assert read_built(STORE, NAME) is None
    first = ingest("docs")
    kept = read_built(STORE, NAME)
    assert kept == Built(first.chunks, first.seconds)
    assert kept.seconds > 0
    # What comes later is not the time of a whole: neither an unchanged corpus nor an addition.
    ingest("docs")
    (docs / "more.txt").write_text("The lock opens at six.\n")
    assert ingest("docs").chunks_embedded == 1
    assert read_built(STORE, NAME) == kept
    again = ingest("docs", rebuild=True)
    assert read_built(STORE, NAME) == Built(first.chunks + 1, again.seconds)


def test_two_collections_are_told_apart(docs, ingest) -> None:  # type: ignore[no-untyped-def]
    ingest("docs")
    assert read_built(STORE, "other") is None
    shutil.rmtree(docs / "sub")
    ingest("docs", collection="other")
    one, other = read_built(STORE, NAME), read_built(STORE, "other")
    assert one is not None and other is not None
    assert one.chunks > other.chunks


def report(chunks: int, embedded: int) -> IngestReport:
    return IngestReport(NAME, "store", (), (), (), (), (), chunks, embedded, 0, 1, 2.0)


def test_of_a_server_it_is_kept_on_this_machine(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("PHI3KIT_CACHE", str(tmp_path))
    site = site_of("http://localhost:8000")
    for chunks, embedded in ((0, 0), (5, 4)):
        keep_built(site, report(chunks, embedded))
        assert read_built(site, NAME) is None
    keep_built(site, report(5, 5))
    assert read_built(site, NAME) == Built(5, 2.0)


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keep_built(tmp_path / "file", report(5, 5))
    assert read_built(tmp_path / "file", NAME) is None
    (tmp_path / f"{NAME}.built.json").write_text("torn")
    assert read_built(tmp_path, NAME) is None
