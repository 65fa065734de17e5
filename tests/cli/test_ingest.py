from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from phi3kit.models.packaged import minilm


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# Pumps\n\nThe K7 runs at 6 bar.\n")
    return folder


def test_dry_run_shows_each_setting_with_its_source(run_cli, tmp_path, docs):
    (tmp_path / "phi3kit.yaml").write_text("ingest:\n  chunk_tokens: 128\n")
    done = run_cli("ingest", "docs", "--collection", "manuals", "--no-prune", "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert '["docs"]' in lines["ingest.corpus"] and "(flag)" in lines["ingest.corpus"]
    assert "(flag)" in lines["ingest.collection"]
    assert "128" in lines["ingest.chunk_tokens"] and "file" in lines["ingest.chunk_tokens"]
    assert "(default)" in lines["ingest.store"]
    assert "false  (flag)" in lines["ingest.prune"]
    assert "1 added, 0 changed, 0 unchanged, 0 deleted, 0 failed" in lines["would"]
    assert lines["added"].endswith("docs/a.md")
    assert not (tmp_path / ".phi3kit").exists()


@pytest.mark.model
@pytest.mark.model
def test_a_store_elsewhere_is_searched_and_checked_as_it_was_built(run_cli, tmp_path, docs):
    copied = shutil.copytree(minilm(), tmp_path / "model")
    done = run_cli("ingest", "docs", "--store", "other", "--embedder", str(copied))
    assert done.returncode == 0, done.stderr
    found = run_cli("search", "How many bar?", "--store", "other", "--json")
    assert "K7" in json.loads(found.stdout)[0]["text"]
    assert f"embedded with '{copied}', as the collection was" in found.stderr
    checked = run_cli("doctor", "--store", "other", "--json")
    index = next(c for c in json.loads(checked.stdout) if c["name"] == "index")
    assert index["ok"] and "all found" in index["found"]


@pytest.mark.model
def test_search_tells_what_ask_would_do_and_is_json_on_any_terminal(run_cli, tmp_path, docs):
    """What is shown first by words need not be what is nearest, which `ask` goes by."""
    (docs / "b.md").write_text("# Naïve 😀\n\nThe K-310 naïve 😀 code.\n")
    (docs / "c.md").write_text("# Boats\n\nA ship's engine is greased by its crew each week.\n")
    assert run_cli("ingest", "docs").returncode == 0
    asked = ("search", "naïve 😀 who greases the engine of the ship", "--passages", "1",
             "--retrieval", "lexical")
    assert "would say that it does not know" not in run_cli(*asked).stderr
    low = run_cli("search", "Who is the president of France?", "--retrieval", "lexical")
    assert "would say that it does not know" in low.stderr
    for encoding in ("latin-1", "utf-8"):
        told = subprocess.run([sys.executable, "-m", "phi3kit", *asked, "--json"], cwd=tmp_path,
                              capture_output=True, check=True,
                              env={**os.environ, "PYTHONIOENCODING": encoding})
        assert json.loads(told.stdout.decode(encoding))[0]["score"] > 0


def test_flags_of_ask_and_its_neighbours_are_settings(run_cli):
    said = run_cli("ask", "x", "--min-similarity", "0.5", "--device", "cpu", "--quantization",
                   "nf4", "--store", "other", "--dry-run").stdout
    for key in ("ask.min_similarity", "model.device", "model.quantization", "ingest.store"):
        assert re.search(rf"^{key} .*\(flag\)$", said, re.MULTILINE)
    for command in (["search", "x"], ["evaluate-retrieval"]):
        said = run_cli(*command, "--store", "other", "--dry-run").stdout
        assert re.search(r'^ingest.store +"other"', said, re.MULTILINE)
    wrong = run_cli("ask", "x", "--quantization", "int4")
    assert wrong.returncode == 2 and "--quantization" in wrong.stderr


def test_dry_run_repeats_no_password(run_cli, docs):
    for flag, url in (("--store", "http://me:s3cret@host:1"),
                      ("--store", 'http://me:"@s3cret@host:1'),
                      ("--embedder", "https://me:s3cret@host/v1#m")):
        done = run_cli("ingest", "docs", flag, url, "--dry-run")
        assert done.returncode != 0 and "://…@host" in done.stdout
        assert "s3cret" not in done.stdout + done.stderr
    done = run_cli("ingest", "docs", "--embedder", "https://host/v1?key=s3cret#m", "--dry-run")
    assert "://host/v1?…#m" in done.stdout and "s3cret" not in done.stdout + done.stderr


def test_ask_repeats_no_password_of_its_server(run_cli):
    done = run_cli("ask", "What?", "--no-rag", "--generator", "https://me:s3cret@host/v1")
    assert done.returncode != 0 and "carries a password" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_an_empty_path_is_not_the_working_folder(run_cli, tmp_path, docs):
    for args in (("",), ("docs", ""), ("docs", "--store", "")):
        done = run_cli("ingest", *args)
        assert done.returncode == 2 and "the working folder is '.'" in done.stderr
        assert done.stderr.count("\n") == 1 and not done.stdout
    assert not (tmp_path / ".phi3kit").exists()


def test_dry_run_refuses_what_the_run_would(run_cli, tmp_path, docs):
    tokens = run_cli("ingest", "docs", "--chunk-tokens", "4000", "--dry-run")
    assert tokens.returncode == 2 and "Set it to 254 or less" in tokens.stderr
    missing = run_cli("ingest", "docs", "nowhere", "--dry-run")
    assert missing.returncode == 1 and "nowhere: no such file" in missing.stdout
    key = {"OPENAI_API_KEY": "k"}
    paid = run_cli("ingest", "docs", "--embedder", "openai:text-embedding-3-small", "--dry-run",
                   env=key)
    assert paid.returncode == 0
    assert re.search(r"about [1-9]\d tokens go to .* at the list price", paid.stderr)
    assert not (tmp_path / ".phi3kit").exists()


def test_dry_run_tells_what_a_run_would_do_and_the_run_does_it(run_cli, tmp_path, docs):
    for name in ("b", "c"):
        (docs / f"{name}.md").write_text(f"# {name}\n\nText.\n")
    assert run_cli("ingest", "docs").returncode == 0
    (docs / "a.md").write_text("# Pumps\n\nThe K7 runs at 7 bar.\n")
    (docs / "b.md").rename(docs / "d.md")
    store = tmp_path / ".phi3kit" / "store"
    before = sorted((path, path.stat().st_mtime_ns) for path in store.rglob("*"))
    preview = json.loads(run_cli("ingest", "docs", "--dry-run", "--json").stdout)
    assert sorted((path, path.stat().st_mtime_ns) for path in store.rglob("*")) == before
    assert preview["counts"] == {"added": 1, "changed": 1, "unchanged": 1, "deleted": 1,
                                 "failed": 0}
    rebuilt = json.loads(run_cli("ingest", "docs", "--dry-run", "--json", "--rebuild").stdout)
    assert (len(rebuilt["added"]), rebuilt["deleted"]) == (3, ["docs/b.md"])
    done = json.loads(run_cli("ingest", "docs", "--json").stdout)
    for key in ("counts", "added", "changed", "unchanged", "deleted", "failed"):
        assert done[key] == preview[key]
    assert (preview["chunks_embedded"], done["chunks_embedded"]) == (0, 1)
    refused = run_cli("ingest", "docs", "--chunk-tokens", "100", "--dry-run")
    assert refused.returncode == 1 and "--rebuild" in refused.stderr
    again = run_cli("ingest", "docs", "--chunk-tokens", "100", "--rebuild")
    assert again.returncode == 0 and "3 added" in again.stdout
    assert "3 chunks looked for by their own vectors" in again.stdout


def test_what_is_unchanged_imports_nothing_heavy(run_cli, tmp_path, docs):
    """Neither Chroma nor torch: what is needed is told by our own state and the files."""
    fill = (
        "import sys; sys.path.insert(0, {!r})\n"
        "from word_embedder import WordEmbedder\n"
        "from phi3kit import settings\n"
        "from phi3kit.ingest import reconcile\n"
        "from phi3kit.ingest.embed import open_embedder\n"
        "words = WordEmbedder('minilm', open_embedder('minilm').fingerprint)\n"
        "reconcile.ingest(settings.load().values, ['docs'], embedder=words)"
    ).format(str(Path(__file__).parents[1] / "ingest"))
    subprocess.run([sys.executable, "-c", fill], cwd=tmp_path, check=True, capture_output=True)
    probe = (
        "import sys; sys.argv = ['phi3kit', 'ingest', 'docs']\n"
        "from phi3kit.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print([n for n in ('torch', 'transformers', 'chromadb', 'numpy', 'rich', 'asyncio', "
        "'yaml', 'phi3kit.records.compare') if n in sys.modules])")
    done = subprocess.run([sys.executable, "-c", probe], cwd=tmp_path, capture_output=True,
                          text=True)
    assert "1 unchanged" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("args", "code", "what"), [
    ((), 1, "nothing to ingest"), (("docs", "--embedder", "./none"), 1, "no folder './none'"),
    (("docs", "--chunk-tokens", "3"), 2, "chunk"),
    (("docs", "--collection", "x"), 2, "collection"),
])
def test_a_users_mistake_is_one_line(args, code, what, run_cli):
    done = run_cli("ingest", *args)
    assert done.returncode == code and done.stdout == ""
    assert what in done.stderr and "Traceback" not in done.stderr


@pytest.mark.model
def test_ingest_as_a_user_does(run_cli, docs):
    (docs / "empty.txt").touch()
    done = run_cli("ingest", "docs", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["added"] == ["docs/a.md"] and report["chunks"] == 1
    assert report["failed"] == [{"where": "docs/empty.txt", "why": "the file is empty"}]
    assert "Warning" not in done.stderr and "%|" not in done.stderr
    (docs / "empty.txt").unlink()
    again = run_cli("ingest", "docs")
    assert again.returncode == 0, again.stderr
    assert "0 added, 0 changed, 1 unchanged, 0 deleted, 0 failed" in again.stdout
