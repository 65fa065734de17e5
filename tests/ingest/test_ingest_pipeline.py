"""The stages of an ingest in this process: side by side, and gone when they are not wanted."""

from __future__ import annotations

import threading
import time

import pytest
from word_embedder import WordEmbedder

from phi3kit.ingest import batch
from phi3kit.ingest.engine import Local


class Slow(WordEmbedder):
    """Begins to embed, and goes on when `go` says so."""

    def __init__(self, go):
        super().__init__()
        self.begun, self.go = [], go

    def encode(self, texts, *, advance=None):
        self.begun.append(texts)
        self.go(texts, advance)
        return super().encode(texts)


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Six files that are a group each."""
    monkeypatch.setattr(batch, "_CHUNKS", 1)
    found = {f"{number}.txt": tmp_path / f"{number}.txt" for number in range(6)}
    for name, path in found.items():
        path.write_text(f"The pump of {name} runs at six bar.")
    return found


def test_a_group_is_embedded_beside_the_one_before_it(paths):
    two = threading.Barrier(2, timeout=30)
    embedder = Slow(lambda texts, advance: two.wait())
    files = list(Local(embedder, 200).files(paths, ()))
    assert [file.source for file in files] == list(paths)
    assert [len(file.vectors) for file in files] == [1] * 6
    for file in files:
        vector, = file.vectors.values()
        assert (vector == WordEmbedder().encode([file.chunks[0].embedded])[0]).all()


def test_a_text_of_two_groups_is_embedded_once(paths):
    for path in paths.values():
        path.write_text("The same in every file.")
    embedder = Slow(lambda texts, advance: None)
    list(Local(embedder, 200).files(dict.fromkeys(paths, paths["0.txt"]), ()))
    assert len(embedder.begun) == 1


def test_who_stops_reading_waits_for_no_more_than_a_batch(paths):
    first = threading.Event()

    def go(texts, advance):
        if "0.txt" not in texts[0]:
            first.set()
            for _ in range(3000):
                time.sleep(0.01)
                advance(1)

    files = Local(Slow(go), 200).files(paths, ())
    next(files)
    assert first.wait(30)
    started = time.monotonic()
    files.close()
    assert time.monotonic() - started < 5
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_what_an_embedder_raises_is_raised_in_its_place(paths):
    def go(texts, advance):
        if "2.txt" in texts[0]:
            raise ValueError("no room")

    seen = []
    with pytest.raises(ValueError, match="no room"):
        seen.extend(file.source for file in Local(Slow(go), 200).files(paths, ()))
    assert seen == ["0.txt", "1.txt"]
