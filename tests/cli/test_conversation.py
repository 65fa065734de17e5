"""`phi3kit ask` without a question: a conversation, here with a server's model."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi3kit.cli.chat import chat
from phi3kit.records import Answer, Message
from speaks_openai import chat_server


@pytest.mark.model
def test_a_conversation_over_documents(project: Path, run_cli):
    (project / "docs").mkdir()
    (project / "docs" / "seals.md").write_text("# Seals\n\nThe K-310 seal is made of Viton.\n")
    assert run_cli("ingest", "docs", cwd=project).returncode == 0
    with chat_server() as server:
        done = run_cli("ask", "--generator", server.url, "--model", "m", cwd=project, input=(
            "/sources\nWhat is the K-310 seal made of?\n\nAnd who says so?\n/sources\n/clear\n"
            "Which seal is of Viton?\n/nonsense\n/quit\nnot asked any more\n"))
    assert done.returncode == 0, done.stderr
    asked = [[m["role"] for m in body["messages"]] for _, _, body in server.requests]
    assert asked == [["system", "user"], ["system", "user", "assistant", "user"],
                     ["system", "user"]]
    second = server.requests[1][2]["messages"]
    assert second[1]["content"] == "What is the K-310 seal made of?"
    assert "Viton" in second[3]["content"], "found with the question before"
    assert done.stdout.count("[1] ") >= 1 and "docs/seals.md" in done.stdout
    assert "no passages stand behind" in done.stderr and "forgotten" in done.stderr
    assert "no command /nonsense" in done.stderr and "/clear" in done.stderr


@pytest.mark.model
def test_a_failing_server_does_not_end_the_conversation(project: Path, run_cli):
    with chat_server() as server:
        server.orders = [400]
        done = run_cli("ask", "--no-rag", "--generator", server.url, "--model", "m", cwd=project,
                       input="/etc/hosts\ntwo\n")
    assert done.returncode == 0, done.stderr
    assert "TWO" in done.stdout and "400" in done.stderr
    assert [len(body["messages"]) for _, _, body in server.requests] == [2, 2]


class Cites:
    """An assistant whose answers cite, and which notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Message, ...]]] = []
        self.last: Answer | None = None

    def stream(self, question: str, history: tuple[Message, ...]) -> Iterator[str]:
        self.asked.append((question, history))
        self.last = Answer(question, "It is Viton [1, 3]. See `x[0]`.", False, (), (), (), 0, 0,
                           0.0)
        yield self.last.text


def test_citations_of_earlier_turns_and_bytes_that_are_no_text_reach_no_model(monkeypatch):
    typed = io.BytesIO("What is it?\nM\udcfcller?\n".encode(errors="surrogateescape"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(typed, "utf-8", "surrogateescape"))
    assistant = Cites()
    chat(assistant, closed_book=False)
    (_, nothing), (question, history) = assistant.asked
    assert question == "M?ller?" and nothing == ()
    assert [turn["content"] for turn in history] == ["What is it?", "It is Viton. See `x[0]`."]


def test_earlier_turns_stay_as_they_are_where_there_are_no_passages_to_cite(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"One?\nTwo?\n"), "utf-8"))
    assistant = Cites()
    chat(assistant, closed_book=True)
    assert assistant.asked[1][1][1]["content"] == "It is Viton [1, 3]. See `x[0]`."


def test_json_needs_a_question(project: Path, run_cli):
    done = run_cli("ask", "--json", cwd=project)
    assert done.returncode == 2 and "needs a question" in done.stderr


def test_thoughts_alone_fail_and_stay_out_of_what_was_said(project: Path, run_cli):
    with chat_server() as server:
        server.orders = [({"content": None, "reasoning_content": "Hm"}, "length")]
        done = run_cli("ask", "Why?", "--no-rag", "--generator", server.url, "--model", "m",
                       "--max-new-tokens", "7", cwd=project)
        assert done.returncode == 1 and done.stdout == ""
        assert "spent its 7 tokens on thoughts. Raise --max-new-tokens" in done.stderr
        server.orders = [({"content": "<think>Hm</think> So."}, "stop")]
        done = run_cli("ask", "--no-rag", "--generator", server.url, "--model", "m", cwd=project,
                       input="one\ntwo\n")
    assert "So." in done.stdout and "Hm" not in done.stdout
    assert [m["content"] for m in server.requests[-1][2]["messages"]][1:] == ["one", "So.", "two"]
