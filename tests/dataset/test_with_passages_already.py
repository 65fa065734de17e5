"""Examples that show passages as `ask` does: what `dataset raft` writes and `finetune` reads."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi3kit import settings
from phi3kit.compare.questions import read_questions
from phi3kit.dataset.digest import digest_lines
from phi3kit.dataset.examples import Example, read_examples
from phi3kit.dataset.heldout import held_out, read_held_out, without_held_out
from phi3kit.dataset.leakage import find_leaks
from phi3kit.dataset.prompts import chats, with_passages
from phi3kit.dataset.raft import raft
from phi3kit.dataset.size import row_lengths
from phi3kit.dataset.split import split, together
from phi3kit.errors import DataError
from phi3kit.rag.prompt import build
from phi3kit.records import DataDigest, LabelCounts, Lengths, Passage
from phi3kit.report.terminal_dataset import print_raft

ASK = settings.load({}).values.ask


def shown(question: str, answer: str, line: int) -> Example:
    passages = [Passage(id=f"{n}", text=f"Passage {line} {n} about gates.", source=f"{n}.md",
                        start=0, end=9) for n in range(2)]
    turns = build(question, passages, instruction=ASK.instruction)
    return Example((*turns, {"role": "assistant", "content": answer}), line)


def plain(question: str, answer: str, line: int) -> Example:
    return Example(({"role": "user", "content": question},
                    {"role": "assistant", "content": answer}), line)


def test_they_are_trained_on_as_they_stand_and_get_no_other_passages() -> None:
    given = [shown("Who keeps the seal?", "The keeper [1].", 1), plain("Who?", "me", 2)]
    assert with_passages(given, 1.0, seed=0) == [1]
    assert chats(given[:1], ASK, seed=0) == [list(given[0].messages)]


def test_a_held_out_question_is_seen_behind_the_passages(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"id": "q", "question": "Who keeps the SEAL?"}) + "\n"
                    + json.dumps({"id": "r", "question": "Where does the old ferry land?"}) + "\n")
    given = [shown("Who keeps the seal?", "The keeper [1].", 1),
             shown("Where does the ferry old land?", "Here [1].", 2),
             shown("How tall is the mast?", "Nine metres [2].", 3)]
    kept, leaked = without_held_out(given, held_out(path), where="t.jsonl")
    assert [example.line for example in kept] == [2, 3]
    assert [failure.where for failure in leaked] == ["t.jsonl:1"]
    assert [(leak.line, leak.question_id, leak.how)
            for leak in find_leaks(given, read_held_out(path))] == [
        (1, "q", "exact"), (2, "r", "near")]


def test_split_keeps_one_question_with_other_passages_together() -> None:
    given = [shown("Who keeps the seal?", "The keeper [1].", 1),
             plain("who keeps the seal", "x", 2),
             shown("How tall is the mast?", "Nine metres [2].", 3)]
    assert together(given) == [[0, 1], [2]]


def test_split_holds_the_question_out_and_not_its_passages(tmp_path: Path) -> None:
    given = [{"messages": list(shown(f"Who keeps gate {n}?", f"Keeper {n} [2].", n).messages)}
             for n in range(4)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    split(tmp_path / "t.jsonl", tmp_path / "out", share=0.5, seed=0)
    held = read_questions(tmp_path / "out" / "questions.jsonl")
    assert {(q.question, q.answers) for q in held} < {
        (f"Who keeps gate {n}?", (f"Keeper {n}.",)) for n in range(4)}


def test_size_counts_no_passages_twice(tmp_path: Path) -> None:
    rows = [{"messages": list(shown("Who keeps the seal?", "The keeper [1].", 1).messages)}]
    (tmp_path / "t.jsonl").write_text(json.dumps(rows[0]) + "\n")
    values = {"finetune.dataset": str(tmp_path / "t.jsonl"), "model.name": "7B"}
    plain_rows, _, _ = row_lengths(settings.load(values).values)
    with_share, how, _ = row_lengths(settings.load({**values, "finetune.passages": 1.0}).values)
    assert with_share == plain_rows and "passages" not in how


def test_looking_at_a_thousand_examples_takes_less_than_two_seconds(tmp_path: Path) -> None:
    from phi3kit.dataset.balance import label_balance
    from phi3kit.dataset.check import conflicts, repeats

    words = random.Random(1)
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(
        {"question": " ".join(f"w{words.randrange(2000)}" for _ in range(40)),
         "answer": " ".join(f"w{words.randrange(2000)}" for _ in range(20))}) + "\n"
        for _ in range(1000)))
    examples = read_examples(path).examples
    questions = read_held_out(path)
    repeats(examples[:2])  # datasketch is loaded
    began = time.process_time()
    assert not repeats(examples) and not conflicts(examples) and not label_balance(examples)
    assert len(find_leaks(examples, questions)) == 1000
    assert time.process_time() - began < 2


def test_the_digest_says_what_is_not_as_it_should_be_and_no_more() -> None:
    sizes = Lengths(least=9, median=20.0, p95=30.0, most=40, limit=64, trained=0.25, cut=0,
                    lost=0, model="m")
    fine = DataDigest(examples=7, lengths=sizes, copies=0, near_copies=0, conflicts=0,
                      questions=3, leaks=(), labels=())
    assert digest_lines(fine) == ["7 examples of 9 to 40 tokens, median 20; the loss is on 25% "
                                  "of them"]
    short = replace(sizes, cut=3, lost=90, lost_answers=4, losing_answers=2)
    assert digest_lines(replace(fine, lengths=short)) == [
        "7 examples of 9 to 40 tokens, median 20; the loss is on 25% of them; 3 are longer than 64 "
        "and lose 90 tokens of their prompts, 2 of them 4 answers to train on too"]
    lopsided = DataDigest(examples=7, lengths=sizes, copies=1, near_copies=2, conflicts=0,
                          questions=3, leaks=(), labels=(LabelCounts("desk", {"A": 5, "B": 1}),))
    assert digest_lines(lopsided)[1:] == [
        "1 exact and 2 near copies; 0 have the prompt of another and a different answer",
        "2 labels of desk, the most frequent 5 times, the rarest 1"]


def test_raft_leaves_an_answer_that_a_program_reads_as_it_is(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    """"[1]" behind JSON or a query would break it; a sentence is cited."""
    said = ['{"crane": "north", "tonnes": 12}', "SELECT tonnes FROM cranes WHERE name = north",
            "The north crane lifts 12 tonnes."]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"question": f"Which crane is number {n}?", "answer": text})
                            + "\n" for n, text in enumerate(said)))
    passage = Passage(id="c", text=" ".join(said), source="c.md", start=0, end=9)

    class Finds:
        def retrieve(self, asked: Sequence[str], k: int, least: float) -> list[Any]:
            return [(passage,) for _ in asked]

        rank = retrieve

    monkeypatch.setattr("phi3kit.rag.retrieve.open_retriever", lambda values: Finds())
    report = raft(settings.load({"finetune.dataset": str(path)}).values, tmp_path / "r.jsonl",
                  without=0.0)
    answers = [json.loads(line)["messages"][-1]["content"]
               for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert answers == [*said[:2], "The north crane lifts 12 tonnes [1]."]
    assert (report.examples, report.uncited) == (3, 2)
    print_raft(report)
    assert "2 answers that a program reads" in capsys.readouterr().out
    print_raft(replace(report, uncited=0))
    assert "uncited" not in capsys.readouterr().out


@pytest.mark.parametrize("force", [False, True])
def test_raft_never_writes_over_what_it_reads(tmp_path: Path, force: bool) -> None:
    examples, questions = tmp_path / "t.jsonl", tmp_path / "q.jsonl"
    examples.write_text(json.dumps({"question": "Who?", "answer": "me"}) + "\n")
    questions.write_text(json.dumps({"id": "q", "question": "When?"}) + "\n")
    link = tmp_path / "link.jsonl"
    link.symlink_to(examples)
    values = settings.load({"finetune.dataset": str(examples),
                            "compare.questions": str(questions)}).values
    for out in (examples, link, questions):
        with pytest.raises(DataError, match="is the file that is read") as caught:
            raft(values, out, without=0.0, force=force)
        assert "--force" not in str(caught.value)
