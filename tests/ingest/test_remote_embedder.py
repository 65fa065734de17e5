"""Embeddings by an API, against a real server on loopback that misbehaves on order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from phi3kit import settings
from phi3kit.errors import ModelError
from phi3kit.ingest import remote
from phi3kit.ingest.embed import open_embedder
from phi3kit.ingest.reconcile import embedder_of
from phi3kit.ingest.remote import RemoteEmbedder, _batches
from speaks_openai import ChatServer, chat_server, vector_of

KEYS = ("PHI3KIT_API_KEY", "OPENAI_API_KEY", "JINA_API_KEY", "AZURE_OPENAI_API_KEY",
        "AZURE_OPENAI_ENDPOINT")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        yield running


def embedder(server: ChatServer) -> RemoteEmbedder:
    found = open_embedder(f"{server.url}#m")
    assert isinstance(found, RemoteEmbedder)
    return found


def test_vectors_have_length_one_and_stand_in_the_texts_order(server):
    server.orders = ["out of order"]
    texts = ["seals of viton", "marine grease", "gate"]
    found = embedder(server).encode(texts)
    expected = np.array([vector_of(t) for t in texts], dtype=np.float32)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-6)
    assert server.requests[0][0] == "/v1/embeddings"
    assert embedder(server).encode([]).shape == (0, 32)


@pytest.mark.parametrize("orders", [[429, 429, 503], [500], ["hang up"]])
def test_busy_servers_are_asked_again(server, orders):
    server.orders = list(orders)
    assert embedder(server).encode(["a"]).shape == (1, 32)


@pytest.mark.parametrize(("order", "said"), [
    ("too few", "0 vectors for 1"), ("not a number", "numbers that are none"),
    ("garbage", "no embeddings|failed"), (401, "PHI3KIT_API_KEY"), (404, "no model 'm'"),
    (400, "failed")])
def test_what_cannot_be_used_is_one_line(server, order, said):
    server.orders = [order] * 20
    with pytest.raises(ModelError, match=said):
        embedder(server).encode(["a"])


def test_vectors_of_different_lengths_are_refused(server):
    server.orders = ["ragged"]
    with pytest.raises(ModelError, match="different lengths"):
        embedder(server).encode(["a", "b"])


@pytest.mark.parametrize(("name", "said"), [
    ("openai:text-embedding-3-small", "OPENAI_API_KEY"),
    ("jina:jina-embeddings-v3", "JINA_API_KEY"),
    ("azure:mine", "AZURE_OPENAI_ENDPOINT"), ("openai:", "names no model"),
    ("http://localhost:1/v1", "names no model")])
def test_names_and_keys_that_are_missing(name, said):
    with pytest.raises(ModelError, match=said):
        open_embedder(name)


@pytest.mark.parametrize("url", [
    "http://user:sekret@localhost:1/v1", "http://sekret@localhost:1/v1",
    "http://localhost:1/v1?key=sekret", "http://user:sekret@local host:99x/v1",
    "HTTP://user:sekret@localhost:1/v1"])
def test_a_key_in_the_url_is_refused_and_not_repeated(url, project, run_cli):
    (project / "a.md").write_text("# A\n\nText.\n")
    done = run_cli("ingest", "a.md", "--embedder", f"{url}#m", cwd=project)
    assert done.returncode == 1 and "ingest.embedder" in done.stderr
    assert "sekret" not in done.stderr + done.stdout and not (project / ".phi3kit").exists()


@pytest.mark.parametrize(("name", "said"), [
    ("http://#m", "no URL of a server"), ("http://bad host:99x/v1#m", "no URL of a server"),
    ("http://host:99x/v1#m", "no URL of a server"), ("http://[::1/v1#m", "no URL of a server"),
    ("OpenAI:text-embedding-3-small", "Write openai:text-embedding-3-small"),
    ("HTTP://localhost:1/v1#m", "Write http://localhost:1/v1#m"),
    ("ollama:nomic-embed-text", "Write http://localhost:11434/v1#nomic-embed-text"),
    ("cohere:embed", "no provider 'cohere'. Write openai:MODEL")])
def test_names_that_are_written_wrongly_get_a_hint(name, said):
    with pytest.raises(ModelError, match=re.escape(said)):
        open_embedder(name)


def test_each_provider_gets_its_own_key_and_path(server, monkeypatch):
    for name in KEYS:
        monkeypatch.setenv(name, f"key-of-{name}")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.url.removesuffix("/v1"))
    embedder(server).encode(["a"])
    open_embedder("azure:mine").encode(["a"])
    (path, first, _), (azure, second, _) = server.requests
    assert path == "/v1/embeddings"
    assert "/deployments/mine/embeddings?api-version=" in azure
    sent = [{k.lower(): v for k, v in h.items()} for h in (first, second)]
    assert sent[0]["authorization"] == "Bearer key-of-PHI3KIT_API_KEY"
    assert sent[1]["api-key"] == "key-of-AZURE_OPENAI_API_KEY"


def test_other_models_and_places_are_other_embedders(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    names = ["openai:text-embedding-3-small", "openai:text-embedding-3-large",
             "http://a/v1#m", "http://b/v1#m"]
    assert len({open_embedder(name).fingerprint for name in names}) == 4


def test_one_server_is_one_embedder_however_its_url_is_written():
    urls = ["http://localhost:11434/v1", "http://127.0.0.1:11434/v1/", "http://LOCALHOST:11434/v1"]
    assert len({open_embedder(f"{url}#m").fingerprint for url in urls}) == 1
    urls = ["http://a:80/v1", "http://a/v1", "http://a/v2", "https://a/v1", "http://a:81/v1"]
    assert len({open_embedder(f"{url}#m").fingerprint for url in urls}) == 4


def test_what_it_will_take_is_told(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    said = RemoteEmbedder("openai:text-embedding-3-small").estimate(5_000_000)
    assert "5,000,000 tokens" in said and "$0.10" in said and "api.openai.com" in said
    assert "$" not in RemoteEmbedder("http://a/v1#m").estimate(10)


def test_requests_keep_their_pace(server, project, monkeypatch):
    slept = []
    monkeypatch.setattr(remote.time, "sleep", slept.append)
    monkeypatch.setattr(remote.time, "monotonic", lambda: 100 + sum(slept))
    slow = embedder_of(settings.load({"ingest.embedder": f"{server.url}#m",
                                      "ingest.requests_per_minute": 30}).values)
    slow.encode(["text"] * 600)  # three requests
    assert len(server.requests) == 3 and slept == [0.0, 2.0, 2.0]
    slept.clear()
    embedder(server).encode(["text"] * 600)
    assert set(slept) == {0.0}


def test_requests_stay_within_the_limits():
    lengths = [500] * 1000 + [8000] * 20
    found = list(_batches(lengths))
    assert [i for batch in found for i in batch] == list(range(1020))
    assert all(len(b) <= 256 and sum(lengths[i] for i in b) <= 60_000 for b in found)


def test_ingest_goes_on_where_a_failing_provider_stopped_it(server, project: Path, run_cli):
    (project / "docs").mkdir()
    for i in range(300):
        (project / "docs" / f"{i:03}.md").write_text(f"# Part {i}\n\nPart number {i} is {i * 7}.\n")
    (project / "phi3kit.yaml").write_text(
        f"ingest:\n  corpus: [docs]\n  embedder: {server.url}#m\n")
    server.orders = [None] * 2 + [401] * 50
    stopped = run_cli("ingest", cwd=project)
    assert stopped.returncode == 1 and "PHI3KIT_API_KEY" in stopped.stderr
    told = re.search(rf"about ([\d,]+) tokens go to {server.url}", stopped.stderr)
    assert told is not None and int(told[1].replace(",", "")) > 300 * 10  # before any call
    assert "Traceback" not in stopped.stderr
    sent = [text for _, _, body in server.requests for text in body["input"]]
    server.requests.clear()
    server.orders.clear()
    done = run_cli("ingest", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["chunks"] == 300
    assert f"about {report['tokens']:,} tokens go" in done.stderr  # of what was left to do
    again = [text for _, _, body in server.requests for text in body["input"]]
    assert 0 < len(again) < 300 and len(sent) > 0
    shown = run_cli("search", "Part number 42", "--retrieval", "lexical", "--json", cwd=project)
    assert json.loads(shown.stdout)[0]["source"] == "docs/042.md"
    assert "key-of" not in shown.stdout
