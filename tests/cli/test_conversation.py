"""`phi3kit ask` without a question: a conversation, here with a server's model."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_json_needs_a_question(project: Path, run_cli):
    done = run_cli("ask", "--json", cwd=project)
    assert done.returncode == 2 and "needs a question" in done.stderr
