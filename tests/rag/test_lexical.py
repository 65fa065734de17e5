"""BM25 over passages, its kept index, and the joining of rankings."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi3kit.rag.fusion import reciprocal_rank_fusion
from phi3kit.rag.lexical import build_index, open_index
from phi3kit.records import Passage


def passage(id: str, text: str, heading: str = "") -> Passage:
    return Passage(id, text, f"{id}.md", 0, len(text), heading=heading)


SHELF = [
    passage("seal", "The K-310 seal is made of Viton."),
    passage("winch", "The W-12 winch takes marine grease.", "Winches"),
    passage("tor", "Das Südtor bleibt bei Hochwasser zu."),
]


def test_the_passage_with_the_rarest_shared_words_comes_first():
    found = build_index(SHELF).search(["What is the K-310 seal made of?", "Wann ist das SÜDTOR zu?",
                                       "winches"], 2)
    assert [ids[0] for ids in found] == ["seal", "tor", "winch"]


def test_nothing_shared_finds_nothing():
    assert build_index(SHELF).search(["xylophone", "", "?!"], 3) == [[], [], []]


def test_empty_collections_and_no_questions():
    assert build_index([]).search(["seal"], 3) == [[]]
    assert build_index(SHELF).search([], 3) == []


def test_the_index_is_kept_and_read_again(tmp_path: Path):
    folder = tmp_path / "store" / "documents.words"
    first = open_index(folder, "sha256:a", SHELF)

    def unread():
        raise AssertionError("the passages are not needed again")
        yield

    again = open_index(folder, "sha256:a", unread())
    questions = ["K-310", "marine grease", "zu"]
    assert again.search(questions, 3) == first.search(questions, 3)
    assert again.ids == first.ids


def test_another_collection_gets_another_index(tmp_path: Path):
    folder = tmp_path / "documents.words"
    open_index(folder, "sha256:a", SHELF)
    other = open_index(folder, "sha256:b", SHELF[:1])
    assert other.ids == ("seal",)
    assert open_index(folder, "sha256:b", []).ids == ("seal",)


@pytest.mark.parametrize("name", ["passages.json", "params.index.json", "vocab.index.json",
                                  "data.csc.index.npy"])
@pytest.mark.parametrize("content", [None, b"", b"\x00nonsense"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, name: str, content: bytes | None):
    folder = tmp_path / "documents.words"
    open_index(folder, "sha256:a", SHELF)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert open_index(folder, "sha256:a", SHELF).search(["seal"], 1) == [["seal"]]


def test_a_store_that_may_only_be_read_is_searched_all_the_same(tmp_path: Path):
    taken = tmp_path / "file"
    taken.write_text("not a folder")
    assert open_index(taken / "words", "sha256:a", SHELF).search(["seal"], 1) == [["seal"]]


def test_fusion_prefers_what_both_rankings_hold():
    assert reciprocal_rank_fusion([["a", "b", "c"], ["d", "b"]])[0] == "b"
    assert reciprocal_rank_fusion([["a", "b"], []]) == ["a", "b"]
    assert reciprocal_rank_fusion([["a"], ["b"]]) == ["a", "b"]
    assert reciprocal_rank_fusion([]) == []
