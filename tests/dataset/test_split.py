from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3kit.compare.questions import read_questions
from phi3kit.dataset.examples import read_examples
from phi3kit.dataset.split import choose, split
from phi3kit.errors import DataError
from phi3kit.records import DatasetSplit
from phi3kit.report.terminal_dataset import print_split
from phi3kit.shipped import shipped

SAMPLE = shipped("data") / "train.jsonl"


def test_no_document_stands_on_both_sides_and_compare_reads_the_rest(tmp_path: Path) -> None:
    report = split(SAMPLE, tmp_path, share=0.8, seed=0)
    train = read_examples(tmp_path / "train.jsonl").examples
    held = read_questions(tmp_path / "questions.jsonl")
    assert len(train) + len(held) == report.train + report.held_out == 345
    assert not ({s for e in train for s in e.source_ids} & {s for q in held for s in q.source_ids})
    again = tmp_path / "again"
    split(SAMPLE, again, share=0.8, seed=0)
    for name in ("train.jsonl", "questions.jsonl"):
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()


def test_an_earlier_split_is_not_overwritten(tmp_path: Path) -> None:
    split(SAMPLE, tmp_path, share=0.8, seed=0)
    with pytest.raises(DataError, match="--force"):
        split(SAMPLE, tmp_path, share=0.8, seed=1)
    split(SAMPLE, tmp_path, share=0.8, seed=1, force=True)


def test_sources_in_metadata_and_same_prompts_stay_together(tmp_path: Path) -> None:
    rows = [{"question": f"Question about {name} {n}?", "answer": f"{n}",
             "metadata": {"source": f"{name}.md"}} for n in range(3) for name in "abc"]
    rows += [{"question": "Who?", "answer": "x"}, {"question": "who", "answer": "y"}]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = split(path, tmp_path / "out", share=0.6, seed=0)
    assert (report.groups, report.without_source) == (4, 2)


def test_held_out_questions_of_a_list_on_one_line_have_ids_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps([{"question": f"What is {word}?", "answer": word}
                                for word in ("rain", "wool", "coal", "salt")]))
    split(file, tmp_path / "out", share=0.5, seed=0)
    held = read_questions(tmp_path / "out" / "questions.jsonl")
    assert len({question.id for question in held}) == len(held) == 2


def test_one_document_cannot_be_split(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"question": f"What is {n}?", "answer": "x",
                                        "source": "a.md"}) + "\n" for n in range(4)))
    with pytest.raises(DataError, match="belong together"):
        split(path, tmp_path / "out", share=0.5, seed=0)


@given(st.lists(st.sampled_from("ab"), min_size=20, max_size=60), st.integers(0, 5))
def test_single_examples_are_split_evenly_in_each_stratum(strata: list[str], seed: int) -> None:
    train = choose([[at] for at in range(len(strata))], strata, share=0.75, seed=seed)
    for stratum, total in Counter(strata).items():
        taken = sum(strata[at] == stratum for at in train)
        assert abs(taken - 0.75 * total) <= 1.5


def test_an_examples_own_system_message_stands_in_the_questions_and_is_told(
        tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"messages": [
        *([{"role": "system", "content": system}] if system else []),
        {"role": "user", "content": f"What does part {name} weigh?"},
        {"role": "assistant", "content": f"{len(name)} kg"}]}) + "\n"
        for name, system in (("bolt", "Be brief."), ("rudder", "Be brief."), ("anchor chain", ""),
                             ("mast", "Be kind."), ("wheelhouse", "Be kind."))))
    for instruction, own in (("", {"Be brief.", "Be kind."}), ("Be brief.", {"Be kind."})):
        report = split(path, tmp_path / "out", share=0.01, seed=0, force=True,
                       instruction=instruction)
        rows = [json.loads(line) for line
                in (tmp_path / "out" / "questions.jsonl").read_text().splitlines()]
        assert len(rows) == 4
        others = [row["system"] for row in rows if row.get("system", instruction) != instruction]
        assert report.own_system == len(others) and report.systems == len(set(others))
        assert set(others) <= own and others
    read_questions(tmp_path / "out" / "questions.jsonl")


def test_what_to_do_about_system_messages_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    report = DatasetSplit(source="t.jsonl", train=8, held_out=2, groups=9, by_kind={},
                          without_source=0, files=(), own_system=2, systems=1)
    print_split(report)
    assert "so set it to the one that they share" in capsys.readouterr().out
    print_split(replace(report, systems=2))
    assert "they have 2" in capsys.readouterr().out
    print_split(replace(report, own_system=0, systems=0))
    assert "system message" not in capsys.readouterr().out


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["train.jsonl", "questions.jsonl", "heldout.jsonl"])
def test_the_file_that_is_read_is_never_written_over(tmp_path: Path, name: str,
                                                     force: bool) -> None:
    path, link = tmp_path / name, tmp_path / "link" / name
    path.write_bytes(SAMPLE.read_bytes())
    link.parent.mkdir()
    link.symlink_to(path)
    for read, out in ((path, tmp_path), (path, link.parent), (link, tmp_path)):
        with pytest.raises(DataError, match="is the file that is read") as caught:
            split(read, out, share=0.8, seed=0, force=force)
        assert "--force" not in str(caught.value)
        assert link.is_symlink() and path.read_bytes() == SAMPLE.read_bytes()


def test_an_earlier_split_stays_where_the_new_one_cannot_be_written(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split(SAMPLE, tmp_path, share=0.8, seed=0)
    (tmp_path / "heldout.jsonl").write_text("{}\n")  # of a split that had chats
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    full = OSError(28, "No space left on device")

    def fail(handle: int) -> None:
        raise full

    with monkeypatch.context() as patch, pytest.raises(DataError, match="No space left"):
        patch.setattr("os.fsync", fail)
        split(SAMPLE, tmp_path, share=0.5, seed=1, force=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    split(SAMPLE, tmp_path, share=0.5, seed=1, force=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["questions.jsonl", "train.jsonl"]
    (tmp_path / "heldout.jsonl").mkdir()
    with pytest.raises(DataError, match=r"heldout\.jsonl: cannot be written"):
        split(SAMPLE, tmp_path, share=0.8, seed=1, force=True)


def test_where_no_example_can_be_used_the_first_reason_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"prompt": "q", "completion": ""}) + "\n")
    with pytest.raises(DataError, match=r"t\.jsonl:1: no usable example.*empty answer"):
        split(path, tmp_path / "out", share=0.5, seed=0)
