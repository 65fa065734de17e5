from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from phi3kit.dataset.examples import Example
from phi3kit.dataset.heldout import held_out, normalise, without_held_out
from phi3kit.dataset.prompts import chats, with_passages
from phi3kit.errors import DataError
from phi3kit.rag import prompt
from phi3kit.records import Message, Passage
from phi3kit.settings import AskSettings

ASK = AskSettings(passages=2, min_similarity=0.2)


def example(question: str, *, kind: str = "", system: str | None = None, line: int = 1,
            ) -> Example:
    first: list[Message] = [{"role": "system", "content": system}] if system else []
    return Example((*first, {"role": "user", "content": question},
                    {"role": "assistant", "content": "a"}), line, kind=kind)


class Shelf:
    """Finds a passage about every question but those about the moon."""

    fingerprint = "shelf"

    def retrieve(self, questions: Sequence[str], k: int, min_similarity: float,
                 ) -> list[tuple[Passage, ...]]:
        assert (k, min_similarity) == (2, 0.2)
        return [() if "moon" in q else (Passage("1", f"about {q}", "a.md", 0, 5, score=0.9),)
                for q in questions]


def test_single_questions_are_put_as_ask_puts_them() -> None:
    [chat] = chats([example("  Who? ")], ASK, seed=0)
    assert chat[:-1] == prompt.build("  Who? ", None, instruction=ASK.instruction)
    [own] = chats([example("Who?", system="Label it.")], ASK, seed=0)
    assert own[:-1] == prompt.build("Who?", None, instruction="Label it.")


def test_several_turns_get_the_instruction() -> None:
    turns: tuple[Message, ...] = (*example("1").messages, *example("2").messages)
    [chat] = chats([Example(turns, 1)], ASK, seed=0)
    assert chat == [{"role": "system", "content": ASK.instruction}, *turns]


def test_passages_stand_in_the_prompt_as_ask_shows_them() -> None:
    [chat] = chats([example("Who?")], ASK, seed=0, share=1.0, retriever=Shelf())  # type: ignore[arg-type]
    found = Shelf().retrieve(["Who?"], 2, 0.2)[0]
    assert chat[:-1] == prompt.build("Who?", found, instruction=ASK.instruction)


def test_where_nothing_is_found_the_question_is_closed_book() -> None:
    [chat] = chats([example("the moon?")], ASK, seed=0, share=1.0, retriever=Shelf())  # type: ignore[arg-type]
    assert chat[:-1] == prompt.build("the moon?", None, instruction=ASK.instruction)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_the_share_is_spread_over_kinds(share: float) -> None:
    examples = [example(str(i), kind="abc"[i % 3]) for i in range(60)]
    chosen = with_passages(examples, share, seed=1)
    assert len(chosen) == round(60 * share)
    assert set(Counter(examples[i].kind for i in chosen).values()) <= {round(20 * share)}
    assert chosen == with_passages(examples, share, seed=1)
    if 0 < share < 1:
        assert chosen != with_passages(examples, share, seed=2)


def test_held_out_questions_are_left_out_whatever_their_case(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text("not json\n" + json.dumps({"id": "q1", "question": "Who checks the SEAL?"}))
    kept, leaked = without_held_out(
        [example("who  checks the seal", line=3), example("Who checks the gate?", line=4)],
        held_out(path), where="d.jsonl")
    assert [e.line for e in kept] == [4]
    assert leaked[0].where == "d.jsonl:3"
    assert f"{path}:2" in leaked[0].why


def test_no_file_holds_nothing_out(tmp_path: Path) -> None:
    assert held_out(None) == {}
    with pytest.raises(DataError, match="the held-out questions cannot be read"):
        held_out(tmp_path / "absent.jsonl")


def test_questions_that_are_no_json_lines_hold_nothing_out_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "q.json"
    path.write_text('[\n{"id": "q",\n"question": "Who?"}\n]')
    assert held_out(path) == {}
    assert f"{path} holds no question that could be read" in capsys.readouterr().err


def test_normal_form() -> None:
    assert normalise(" Ｗho,  ＳＥＡＬ-7? ") == "who seal 7"
    assert normalise("???") == ""
