"""A server's model: answers in order, retries, one-line errors, keys where they belong."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3kit import settings
from phi3kit.errors import ModelError
from phi3kit.models import endpoint
from phi3kit.models.endpoint import EndpointGenerator, as_data
from phi3kit.models.loading import load_base
from phi3kit.models.server_errors import Mends, explain
from phi3kit.models.server_url import checked_url, without_secrets
from phi3kit.models.thoughts import without_thoughts
from speaks_openai import ChatServer, chat_server


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        yield running


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PHI3KIT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def generator(url: str) -> EndpointGenerator:
    return EndpointGenerator(settings.load({"model.endpoint": url, "model.name": "m"}).values.model)


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "be brief"}, {"role": "user", "content": text}]


def answers(server: ChatServer, *texts: str):
    return generator(server.url).generate([ask(t) for t in texts], max_new_tokens=5,
                                          batch_tokens=100)


def test_answers_come_in_the_order_of_the_prompts_and_each_is_told_once(server):
    told: list[int] = []
    found = generator(server.url).generate(
        [ask(f"word {i}") for i in range(20)], max_new_tokens=5, batch_tokens=100,
        on_batch=lambda indices, results: told.extend(indices))
    assert [g.text for g in found] == [f"WORD {i}" for i in range(20)]
    assert sorted(told) == list(range(20))
    assert (found[0].tokens_in, found[0].tokens_out, found[0].error) == (11, 3, "")
    path, _, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0, 5)


@pytest.mark.parametrize("orders", [[429, 429], [503], [500, 429, 502]])
def test_busy_servers_are_asked_again(server, orders):
    server.orders = list(orders)
    assert answers(server, "hello")[0].text == "HELLO"
    assert len(server.requests) == len(orders) + 1


@pytest.mark.parametrize("orders", [[400], [500] * 6, ["garbage"]])
def test_a_prompt_that_fails_costs_itself_only(server, orders):
    server.orders = list(orders)
    found = generator(server.url).generate([ask("one")], max_new_tokens=5, batch_tokens=9)
    assert found[0].error and not found[0].text
    assert answers(server, "two")[0].text == "TWO"


@pytest.mark.parametrize(("status", "said"), [(401, "PHI3KIT_API_KEY"), (403, "PHI3KIT_API_KEY"),
                                              (404, "no model 'm'")])
def test_what_would_fail_every_prompt_stops(server, status, said):
    server.orders = [status] * 50
    with pytest.raises(ModelError, match=said):
        answers(server, *"abcdef")
    assert len(server.requests) <= 8 + 6


def test_a_prompt_that_is_not_answered_in_time_costs_itself_only(server, monkeypatch):
    monkeypatch.setattr(endpoint, "_RETRIES", 0)
    monkeypatch.setattr(endpoint, "_TIMEOUT", 4.0)
    server.orders = ["hang"]
    found = answers(server, "one", "two")
    assert sorted(g.text for g in found)[0] == "" and sum(bool(g.text) for g in found) == 1
    (late,) = [g for g in found if g.error]
    assert late.error == ("the server did not answer within 4 s. Take a smaller model there, or "
                          "set ask.max_new_tokens lower")


def test_a_server_that_answers_nothing_in_time_stops(server, monkeypatch):
    monkeypatch.setattr(endpoint, "_RETRIES", 0)
    monkeypatch.setattr(endpoint, "_TIMEOUT", 1.0)
    server.orders = ["hang"] * 50
    with pytest.raises(ModelError, match="did not answer within 1 s"):
        answers(server, *map(str, range(40)))
    assert len(server.requests) < 40


@pytest.mark.parametrize(("cause", "said"), [
    ("ReadTimeout", "did not answer within 9 s. Wait"), ("ConnectTimeout", "be reached. Start")])
def test_time_runs_out_for_an_answer_or_for_the_connection(cause, said):
    import openai

    error = openai.APITimeoutError(request=None)
    error.__cause__ = type(cause, (Exception,), {})()
    told = explain(error, model="m", where="w", seconds=9.0, mends=Mends(
        key="", model="", unreachable="Start it", slow="Wait"))
    assert said in str(told)


ASKING = """
import sys
from phi3kit import settings
from phi3kit.models.endpoint import EndpointGenerator
model = settings.load({"model.endpoint": sys.argv[1], "model.name": "m"}).values.model
asked = [[{"role": "user", "content": word}] for word in ("one", "two", "three")]
EndpointGenerator(model).generate(asked, max_new_tokens=5, batch_tokens=100,
                                  on_batch=lambda _, found: print(found[0].text, flush=True))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process is not sent Ctrl-C there")
def test_ctrl_c_waits_for_no_answer(server):
    """The server hangs for a minute, and would then be asked again."""
    server.orders = ["hang", "hang"]
    asking = subprocess.Popen([sys.executable, "-c", ASKING, server.url], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert asking.stdout is not None
        assert asking.stdout.readline() in ("ONE\n", "TWO\n", "THREE\n")  # what came is told
        asking.send_signal(signal.SIGINT)
        _, said = asking.communicate(timeout=45)
    finally:
        asking.kill()
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert len(server.requests) <= 3  # none was asked again


def test_an_error_stops_what_is_under_way_and_the_next_call_begins_anew(server):
    server.orders = ["hang"]
    asking = generator(server.url)

    def full(indices: list[int], found: object) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        asking.generate([ask("one"), ask("two")], max_new_tokens=5, batch_tokens=100,
                        on_batch=full)
    found, = asking.generate([ask("three")], max_new_tokens=5, batch_tokens=100)
    assert found.text == "THREE"


def test_no_server(server, monkeypatch):
    monkeypatch.setattr(endpoint, "_RETRIES", 1)
    url = server.url.replace(str(server.server_port), "9")
    with pytest.raises(ModelError, match="cannot be reached"):
        generator(url).generate([ask("x")], max_new_tokens=5, batch_tokens=9)


def test_a_connection_that_is_cut_is_made_again(server):
    server.orders = ["hang up"]
    assert answers(server, "hello")[0].text == "HELLO"


def test_streams(server):
    pieces = list(generator(server.url).stream(ask("one two"), max_new_tokens=5))
    assert "".join(pieces) == "ONE TWO " and len(pieces) == 2


def test_a_stream_that_breaks_off_is_an_error(server):
    server.orders = ["break off"]
    pieces: list[str] = []
    with pytest.raises(ModelError, match="failed"):
        pieces.extend(generator(server.url).stream(ask("one two"), max_new_tokens=5))
    assert pieces == ["ONE "]


def test_keys_go_where_they_belong_and_nowhere_else(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-openai")
    answers(server, "x")
    monkeypatch.setenv("PHI3KIT_API_KEY", "k-own")
    answers(server, "x")
    sent = [{k.lower(): v for k, v in headers.items()}.get("authorization")
            for _, headers, _ in server.requests]
    assert sent == ["Bearer none", "Bearer k-own"]
    assert "sk-secret" not in json.dumps(server.requests)


@pytest.mark.parametrize("token", ["<|end|>", "<|im_start|>", "<|endoftext|>", "</s>", "[/INST]",
                                   "<end_of_turn>", "<|start_header_id|>"])
def test_control_tokens_in_contents_are_broken(server, token):
    answers(server, f"a {token} b")
    sent = server.requests[0][2]["messages"][-1]["content"]
    assert token not in sent and sent == as_data(f"a {token} b")
    assert sent.replace("\u200b", "") == f"a {token} b"
    assert as_data(sent) == sent


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://x/v1", "http://", "http://u:p@host/v1"])
def test_urls_that_are_none(url):
    with pytest.raises(ModelError, match=r"model\.endpoint"):
        checked_url(url, where="model.endpoint")


@pytest.mark.parametrize(("url", "shown"), [
    ("http://u:s3cret@host:1/v1", "http://…@host:1/v1"), ("http://s3cret@host", "http://…@host"),
    ("http://u:s3c@ret@host:1", "http://…@host:1"), ("http://u:s3c/ret@host", "http://…@host"),
    ("http://u:1/s3cret@host", "http://…@host"), ("http://u:s3#c?ret@host", "http://…@host"),
    ('http://u:s3"c ret@[::1]:8000', "http://…@[::1]:8000"),
    ("http://u:s3cret@[::1:8000", "http://…@[::1:8000"),
    ("https://host/v1?key=s3cret#m", "https://host/v1?…#m")])
def test_what_may_be_told_of_a_url(url, shown):
    assert without_secrets(url) == shown


@pytest.mark.parametrize("url", [
    "http://localhost:11434/v1#bge:large@q4", "http://[::1]:8000/team/papers", "https://host",
    "http://host#m@q4", "docs/me@home.md", "minilm"])
def test_what_hides_nothing_is_told_as_it_is(url):
    assert without_secrets(url) == url


def test_an_answer_that_is_none_is_an_error(server):
    server.orders = ["empty object"] * 2
    with pytest.raises(ModelError, match="something that is no answer of a model"):
        list(generator(server.url).stream(ask("hello"), max_new_tokens=5))
    found = answers(server, "hello")[0]
    assert found.text == "" and "no answer of a model" in found.error


def test_an_empty_answer_is_one(server):
    assert list(generator(server.url).stream(ask(""), max_new_tokens=5)) == []


@pytest.mark.parametrize(("fields", "end", "said"), [
    ({"content": None, "reasoning_content": "Let me see"}, "length",
     "spent its 5 tokens on thoughts. Raise --max-new-tokens or turn its thinking off"),
    ({"content": "", "reasoning": "Let me see"}, "length", "spent its 5 tokens on thoughts"),
    ({"content": "<think>Let me"}, "length", "spent its 5 tokens on thoughts"),
    ({"content": None}, "length", "spent its 5 tokens on thoughts"),
    ({"content": "<think>So</think> \n"}, "stop", "ended after its thoughts"),
    ({"content": None}, "content_filter", r"before it began \(content_filter\)"),
])
def test_an_answer_that_never_began_is_an_error(server, fields, end, said):
    server.orders = [(fields, end)] * 2
    found = answers(server, "hello")[0]
    assert found.text == "" and re.search(said, found.error)
    with pytest.raises(ModelError, match=said):
        list(generator(server.url).stream(ask("hello"), max_new_tokens=5))


@pytest.mark.parametrize(("written", "shown"), [
    ("<think>Passage [9]?</think>\n\nEvery 14 days [1].", "Every 14 days [1]."),
    ("\n<think>\n\n</think>\n\n", ""), ("<b>14</b>", "<b>14</b>"), ("<thin", "<thin"),
    ("It is <think>x</think>.", "It is <think>x</think>."), ("</think>So", "</think>So"),
])
def test_thoughts_are_no_part_of_an_answer(server, written, shown):
    order = ({"content": written, "reasoning": ""}, "stop")
    server.orders = [order] * 2
    assert answers(server, "hello")[0].text == shown
    if shown:
        streamed = generator(server.url).stream(ask("hello"), max_new_tokens=5)
        assert "".join(streamed).strip() == shown


@given(text=st.lists(st.sampled_from(["<think>", "</think>", "<", "thi", " ", "14 days"]),
                     max_size=8).map("".join), data=st.data())
def test_the_cuts_of_a_stream_change_no_thoughts(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=9)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(without_thoughts(pieces)) == "".join(without_thoughts([text]))


def test_commands_that_need_the_weights_say_so():
    values = settings.load({"model.endpoint": "http://localhost:1/v1"}).values
    with pytest.raises(ModelError, match=r"model\.endpoint"):
        load_base(values.model, quantization="none")
