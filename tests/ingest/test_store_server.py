"""A collection on a Chroma server: the same one as in a folder, whatever happens on the way."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from phi3kit.errors import SettingsError, StoreError
from phi3kit.ingest import lease, lock
from phi3kit.ingest.client import connect
from phi3kit.ingest.site import KEY, Server, site_of
from phi3kit.ingest.store import Store, open_store

CHROMA = Path(sys.executable).with_name("chroma")


class Served:
    """A `chroma run` on loopback that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [CHROMA, "run", "--path", str(self.folder), "--host", "127.0.0.1", "--port",
             str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL)
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(
                    ("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.1)
        raise AssertionError("the server does not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    server = Served(tmp_path_factory.mktemp("chroma"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def clean(served, monkeypatch, tmp_path):
    """An empty server, a cache of its own, and leases that go stale in a second."""
    monkeypatch.setenv("PHI3KIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lease, "BEAT", 0.2)
    monkeypatch.setattr(lease, "STALE", 1.0)
    monkeypatch.setattr(lease, "_PACE", 0.1)
    with contextlib.closing(connect(site_of(served.url))) as client:
        for held in client.list_collections():
            client.delete_collection(held.name)


def rows(store: str):
    with contextlib.closing(open_store(site_of(store), "documents")) as opened:
        return {row.id: (row, vector) for page, vectors in opened.with_vectors()
                for row, vector in zip(page, vectors, strict=True)}, opened.fingerprint


def require_equal(served, folder=".phi3kit/store"):
    (local, one), (remote, other) = rows(folder), rows(served.url)
    assert one == other
    assert {id_: row for id_, (row, _) in local.items()} == {
        id_: row for id_, (row, _) in remote.items()}
    for id_, (_, vector) in local.items():
        assert np.allclose(vector, remote[id_][1], atol=1e-6)


def counts(report):
    return (report.added, report.changed, report.deleted, report.unchanged, report.chunks,
            report.chunks_embedded, report.chunks_deleted, report.verified)


def test_set_for_set_what_a_folder_holds(ingest, docs, served):
    def both():
        one, other = ingest("docs"), ingest("docs", store=served.url)
        assert counts(one) == counts(other)
        require_equal(served)
        return other

    assert both().chunks_embedded > 0
    again = both()
    assert (again.chunks_embedded, len(again.unchanged)) == (0, 3)
    (docs / "gates.txt").write_text("The north gate is painted red.\n")  # changed
    (docs / "sub" / "cranes.md").rename(docs / "cranes.md")  # moved
    shutil.copy(docs / "pumps.md", docs / "sub" / "pumps.md")  # a second place
    assert both().chunks_embedded == 1
    (docs / "pumps.md").unlink()
    both()
    ingest("docs", store=served.url, rebuild=True)
    require_equal(served)


def test_what_it_was_built_with_is_kept(ingest, docs, served):
    ingest("docs", store=served.url)
    with pytest.raises(StoreError, match=r"chunk_tokens 200, not 90.*--rebuild"):
        ingest("docs", store=served.url, chunk_tokens=90)
    ingest("docs", store=served.url, chunk_tokens=90, rebuild=True)
    assert not ingest("docs", store=served.url, chunk_tokens=90).chunks_embedded


def test_the_server_dies_in_the_middle_and_the_next_run_ends_right(
        ingest, docs, served, monkeypatch):
    for number in range(30):
        (docs / f"{number}.txt").write_text(f"The bolt number {number} holds {number} tonnes.\n")
    ingest("docs")
    add = Store.add

    def dying(self, *args):
        add(self, *args)
        served.kill()

    monkeypatch.setattr(Store, "add", dying)
    try:
        with pytest.raises(StoreError, match=r"cannot be reached.*Start it"):
            ingest("docs", store=served.url)
    finally:
        served.start()
    monkeypatch.setattr(Store, "add", add)
    ingest("docs", store=served.url)  # waits for the dead run's lease to go stale
    require_equal(served)


def test_no_server_is_one_line(project, docs, run_cli):
    done = run_cli("ingest", "docs", "--store", "http://127.0.0.1:1", cwd=project)
    assert done.returncode == 1
    assert "the Chroma server cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_writer_is_refused_and_the_first_one_named(served):
    site = site_of(served.url)
    refused = pytest.raises(StoreError, match=r"another process is writing.*process \d+ on ")
    with lock.writer(site), refused, lock.writer(site):
        raise AssertionError("both may write")
    with lock.writer(site):  # given back
        pass


def test_a_lease_whose_holder_was_killed_is_taken_over(served, monkeypatch):
    site = site_of(served.url)
    with contextlib.closing(connect(site)) as client:
        client.create_collection(f"{lease.PREFIX}7", embedding_function=None,
                                 metadata={"holder": "process 1 on nowhere", "beat": "x"})
        started = time.monotonic()
        with lock.writer(site):
            assert time.monotonic() - started >= lease.STALE
            assert [held.name for held in client.list_collections()] == [f"{lease.PREFIX}8"]
        assert not client.list_collections()


def test_of_many_that_begin_at_once_at_most_one_writes(served):
    site, inside, most = site_of(served.url), [], []

    def attempt():
        with contextlib.suppress(StoreError), lock.writer(site):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.5)
            inside.pop()

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most, default=0) <= 1


def test_whoever_lost_the_lease_writes_no_more(served, ingest, docs, monkeypatch):
    add = Store.add

    def after_a_nap(self, *args):
        with contextlib.closing(connect(site_of(served.url))) as other:
            for held in other.list_collections():
                if held.name.startswith(lease.PREFIX):
                    other.delete_collection(held.name)
        time.sleep(3 * lease.BEAT)
        add(self, *args)

    monkeypatch.setattr(Store, "add", after_a_nap)
    with pytest.raises(StoreError, match="took over the writing"):
        ingest("docs", store=served.url)
    with contextlib.closing(open_store(site_of(served.url), "documents")) as opened:
        assert opened.count() == 0


@pytest.mark.model
def test_used_from_the_command_line(project, docs, served, run_cli):
    where = ("--store", served.url)
    done = run_cli("ingest", "docs", *where, "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["added"]) == 3
    (project / "phi3kit.yaml").write_text(f"ingest:\n  store: {served.url}\n")
    found = run_cli("search", "How often is the shaft seal replaced?", "--json", cwd=project)
    assert found.returncode == 0, found.stderr
    assert "400 hours" in found.stdout
    assert run_cli("doctor", cwd=project).stdout.count("looked for by their own vectors") == 1
    (project / "q.jsonl").write_text(json.dumps({
        "id": "1", "question": "What does the crane lift?", "answers": ["12 tonnes"],
        "source_ids": ["docs/sub/cranes.md"]}) + "\n")
    scored = run_cli("evaluate-retrieval", "--questions", "q.jsonl", cwd=project)
    assert scored.returncode == 0, scored.stderr
    assert not (project / ".phi3kit").exists()
    assert not list(project.glob("http*"))


@pytest.mark.parametrize(("text", "site"), [
    ("http://localhost:8000", Server("localhost", 8000, False)),
    ("http://localhost", Server("localhost", 8000, False)),
    ("https://api.example.com/team/papers", Server("api.example.com", 443, True, "team",
                                                   "papers")),
    ("http://[::1]:8001", Server("::1", 8001, False)),
    ("folder/store", Path("folder/store")),
])
def test_urls_and_folders(text, site):
    assert site_of(text) == site


@pytest.mark.parametrize("text", [
    "ftp://host", "http://", "http://host:99999", "http://host/only-tenant", "http://[::1:8000",
    "http://host?token=secret", "http://host#secret"])
def test_no_urls(text):
    with pytest.raises(SettingsError, match=r"no URL of a Chroma server.*http://host:8000") as told:
        site_of(text)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("text", [
    "http://u:s3cret@host", "http://u:s3cret@[::1:8000", "http://u:s3cret/x@host",
    "http://u:1/s3cret@host"])
def test_no_password_is_repeated(text):
    with pytest.raises(SettingsError) as told:
        site_of(text)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize("text", [
    "http://[::1]:8001", "http://httpd.internal:8001", "https://chroma:8001"])
def test_chroma_asks_the_port_of_the_url(text):
    from chromadb.api.base_http_client import BaseHTTPClient

    site = site_of(text)
    assert str(site) == text
    assert BaseHTTPClient.resolve_url(site.address, site.ssl, "/api/v2", site.port) == (
        f"{text}/api/v2")


@pytest.mark.parametrize("text", ["localhost:8000", "localhost", "db.lan:8000", "127.0.0.1",
                                  "127.0.0.1:8000/team/papers"])
def test_a_server_without_http_is_no_folder(text, project):
    with pytest.raises(SettingsError, match=f"Write http://{text} for a Chroma server"):
        site_of(text)
    (project / text).mkdir(parents=True)
    assert site_of(text) == Path(text) and site_of(f"./{text}") == Path(f"./{text}")


def test_a_tenant_that_the_server_does_not_have(served):
    with pytest.raises(StoreError, match=r"does not know it \(Tenant .*Correct tenant and data"):
        connect(site_of(f"{served.url}/nobody/nothing"))
    with pytest.raises(StoreError, match=r"does not know it \(Database .*Correct tenant and data"):
        connect(site_of(f"{served.url}/default_tenant/nothing"))


@pytest.mark.parametrize("text", ["http://me:secret@host:8000", "ftp://me:secret@host"])
def test_a_password_in_the_url_is_refused(text):
    with pytest.raises(SettingsError, match=KEY) as refused:
        site_of(text)
    assert "secret" not in str(refused.value)
