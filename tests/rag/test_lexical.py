"""BM25 over passages, its kept index, and the joining of rankings."""

from __future__ import annotations

import random
from pathlib import Path

import bm25s
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


def test_letters_are_the_same_however_they_are_spelt():
    shelf = build_index([passage("a", "Das Su\u0308d\u00adtor bleibt zu."), passage("b", "d u")])
    assert shelf.search(["südtor", "su\u0308dtor"], 1) == [["a"], ["a"]]


def test_marks_that_are_not_seen_part_no_word():
    shelf = build_index([passage("a", "Die Auf\u200clage der Flut\u2060tore; a tide\u200bgate."),
                         passage("b", "auf, gate"), passage("c", "می\u200cخواهم")])
    found = shelf.search(["Auflage", "Fluttore", "tidegate", "می خواهم"], 1)
    assert found == [["a"], ["a"], ["a"], ["c"]]


def test_words_without_blanks_between_them_are_found():
    shelf = build_index([passage("a", "管理员每七天检查一次北门的密封。"),
                         passage("b", "水門の番人は圧力を書き込みます。")])
    assert shelf.search(["北门的密封", "圧力"], 1) == [["a"], ["b"]]


def test_nothing_shared_finds_nothing():
    assert build_index(SHELF).search(["xylophone", "", "?!"], 3) == [[], [], []]


def test_empty_collections_and_no_questions():
    assert build_index([]).search(["seal"], 3) == [[]]
    assert build_index(SHELF).search([], 3) == []


def test_passages_without_a_word_are_left_out():
    assert build_index([passage("a", "— … —"), passage("b", "***")]).search(["seal"], 3) == [[]]
    held = build_index([passage("a", "— … —"), passage("b", "the seal")])
    assert (held.ids, held.search(["seal"], 3)) == (("b",), [["b"]])


def brute_force(index: bm25s.BM25, question: str, depth: int, only: set[int]) -> list[int]:
    """What bm25s finds when all passages are asked for; the lower number first where equal."""
    if not question:
        return []
    total = index.scores["num_docs"]
    found, scores = index.retrieve([question.split()], k=total, show_progress=False)
    ranked = sorted(zip(found[0].tolist(), scores[0].tolist(), strict=True),
                    key=lambda one: (-one[1], one[0]))
    return [at for at, score in ranked if score > 0 and at in only][:depth]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_found_is_what_bm25s_finds_and_equal_scores_stand_in_the_order_of_places(seed):
    rng = random.Random(seed)
    words = [f"w{at}" for at in range(rng.choice((3, 12, 60)))]
    longest = rng.choice((2, 9))  # the shorter the texts, the more of their scores are equal
    texts = [" ".join(rng.choices(words, k=rng.randint(1, longest)))
             for _ in range(rng.choice((1, 7, 90)))]
    theirs = bm25s.BM25(method="lucene")
    theirs.index(bm25s.tokenize(texts, token_pattern=r"\w+", stopwords=[], show_progress=False),
                 show_progress=False)
    shelf = [Passage(str(rng.random()), text, "a.md", at, at + 1) for at, text in enumerate(texts)]
    ours = build_index(rng.sample(shelf, len(shelf)))
    questions = [" ".join(rng.choices([*words, "unknown"], k=rng.randint(0, 6)))
                 for _ in range(25)]
    every, some = set(range(len(texts))), {at for at in range(len(texts)) if rng.random() < 0.5}
    for depth in (1, 5, 200):
        assert ours.search(questions, depth) == [
            [shelf[at].id for at in brute_force(theirs, question, depth, every)]
            for question in questions]
        assert ours.search(questions, depth, {shelf[at].id for at in some}) == [
            [shelf[at].id for at in brute_force(theirs, question, depth, some)]
            for question in questions]


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


def test_who_shares_the_store_may_read_the_kept_index(tmp_path):
    open_index(tmp_path / "words", "sha256:x", SHELF)
    assert (tmp_path / "words").stat().st_mode & 0o777 == 0o755
