"""The scripts say in one line what is missing, and are safe to run twice."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]


def setup(cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(ROOT / "scripts" / "setup"), "dev"], cwd=cwd, capture_output=True,
                          text=True, env={**os.environ, **env})


def test_no_such_python_is_one_line(tmp_path: Path) -> None:
    done = setup(tmp_path, PYTHON=str(tmp_path / "python9"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "PYTHON=" in done.stderr


def test_an_old_python_is_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = setup(tmp_path, PYTHON=str(old))
    assert done.returncode == 1
    assert "is not Python 3.11 or newer" in done.stderr


@pytest.mark.skipif(not (ROOT / ".venv" / ".phi3kit-installed").is_file(),
                    reason="set up by other means than scripts/setup")
def test_a_second_set_up_does_nothing(tmp_path: Path) -> None:
    stamp = ROOT / ".venv" / ".phi3kit-installed"
    before = stamp.stat().st_mtime_ns
    done = setup(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stamp.stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_the_bench_of_ingest_measures_without_peers(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "bench" / "ingest"), "--quick"],
                          cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for measured in ("end to end to the encoder alone", "unchanged corpus to --help",
                     "one file changed", "query, 200 chunks, dense, p95", "peak memory, x2 to x1"):
        assert measured in done.stdout
    assert '"first run, phi3kit"' in done.stdout
    assert "langchain" not in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bench", ["ingest", "startup"])
def test_no_bench_measures_compiling(bench: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     ) -> None:
    """Whatever the shell has set: an installation has its Python compiled."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.syspath_prepend(ROOT / "scripts" / "bench" / "peers")
    script = runpy.run_path(str(ROOT / "scripts" / "bench" / bench))
    ask = [sys.executable, "-c", "import sys; assert not sys.dont_write_bytecode"]
    if bench == "ingest":
        script["run"](ask, tmp_path, script["ENV"])
    else:
        script["seconds"](ask, str(tmp_path))


def test_a_quick_bench_of_ingest_is_not_kept(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "bench" / "ingest"), "--quick",
                           "--write"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2


@pytest.mark.slow
@pytest.mark.model
def test_the_bench_of_gpus_runs_on_a_tiny_model(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "bench" / "gpu"), "--tiny",
                           "--examples", "16"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    arms = json.loads(done.stdout)
    recipes = arms.pop("recipes")
    assert [arm["settings"]["finetune.rank"] for arm in recipes.values()] == [16]
    assert arms["qlora"]["settings"]["finetune.qlora"] is True
    assert arms["lora"]["settings"]["finetune.micro_batch_tokens"] == 4096
    assert set(arms) >= {"lora", "qlora", "qlora, least memory", "trl"}
    assert all(arm["tokens_per_second"] > 0 for arm in arms.values())
    assert arms["trl"]["seconds_after_first"] < arms["trl"]["seconds"]
    assert 1845 <= arms["lora"]["longest_row"] <= 2048


@pytest.mark.slow
def test_the_bench_of_the_plan_tries_each_method_on_a_tiny_model(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "bench" / "calibration"), "--quick", "--folder",
         str(tmp_path / "kept")], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert [line.split()[1] for line in told] == ["lora", "qlora", "full"]
    assert all("off by" in line and "planned" in line for line in told)


def test_a_quick_bench_of_the_plan_is_not_kept(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "bench" / "calibration"), "--quick", "--write"],
        cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2


def test_kept_rows_of_the_plan_are_planned_anew_without_training() -> None:
    bench = runpy.run_path(str(ROOT / "scripts" / "bench" / "calibration"))
    kept = json.loads(bench["KEPT"].read_text(encoding="utf-8"))
    stale = json.loads(json.dumps(kept))
    for row in stale["rows"]:
        row["planned_seconds"], row["time_error"] = 1.0, -0.9
    stale["largest_time_error"], stale["rows"][0]["peak_bytes"] = -0.9, 10**8
    again = bench["replanned"](stale)
    over = sum(abs(row["memory_error"]) > bench["AIM"] for row in kept["rows"][1:])
    assert again["over_aim"] == 1 + over and again["largest_memory_error"] > 1
    assert again["rows"][1:] == kept["rows"][1:]
    assert again["largest_time_error"] == kept["largest_time_error"]
    assert (again["date"], again["machine"]) == (kept["date"], kept["machine"])


def test_the_bench_of_gpus_takes_what_the_plan_says_fits() -> None:
    bench = runpy.run_path(str(ROOT / "scripts" / "bench" / "gpu"))
    budget = bench["budget"]
    small, large = (budget(["--qlora", "--checkpointing"], "phi-3-mini", gb) for gb in (8, 80))
    assert 2048 <= small < large == 8 * 2048
    assert budget([], "phi-3-mini", 8) == 2048  # too small: tried with the least, and said
    assert budget([], "phi-3-mini", None) == 2 * 2048


def test_a_training_that_runs_out_of_memory_is_a_row_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = runpy.run_path(str(ROOT / "scripts" / "bench" / "gpu"))
    broken = tmp_path / "phi3kit"
    broken.write_text("#!/bin/sh\necho 'torch.OutOfMemoryError: CUDA out of memory' >&2\nexit 1\n")
    broken.chmod(0o755)
    trained = bench["trained"]
    monkeypatch.setitem(trained.__globals__, "PHI3KIT", str(broken))
    assert "out of memory" in trained(tmp_path, tmp_path, [])["out_of_memory"]
    broken.write_text("#!/bin/sh\necho 'another fault' >&2\nexit 1\n")
    assert trained(tmp_path, tmp_path, []) == {"failed": "another fault"}


def test_what_the_bench_of_gpus_measured_is_kept_whatever_comes_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With TRL last, which fails here; and what was not measured has no aim."""
    bench = runpy.run_path(str(ROOT / "scripts" / "bench" / "gpu"))
    names, measure = bench["measure"].__globals__, bench["measure"]
    (tmp_path / "with_trl.py").write_text("raise SystemExit('CUDA is not as TRL wants it')")
    real = names["run"]
    monkeypatch.setitem(names, "PEERS", tmp_path)
    monkeypatch.setitem(names, "run", lambda command, *rest, **more: real(
        command if "with_trl.py" in command[1] else [sys.executable, "-c", ""], *rest, **more))
    fast = {"tokens_per_second": 300.0, "tokens": 2000, "trained_share": 0.1, "peak_bytes": 10**9}
    asked: list[tuple[str, int]] = []

    def trained(folder: Path, data: Path, flags: list[str]) -> dict[str, object]:
        asked.append((data.stem, len(data.read_text(encoding="utf-8").split()) // 4))
        return {"failed": "a fault"} if flags == ["--qlora"] else dict(fast)

    monkeypatch.setitem(names, "trained", trained)
    kept: list[tuple[list[str], list[str]]] = []
    last: dict[str, dict[str, object]] = {}

    def keep(arms: dict[str, dict[str, object]], recipes: dict[str, object]) -> None:
        kept.append((list(arms), list(recipes)))
        last.update(arms)

    measure(tmp_path, 4, bench["TRUE"], None, "float16", keep)
    assert [len(arms) + len(recipes) for arms, recipes in kept] == list(range(1, len(kept) + 1))
    assert kept[-2][0][-1] == "qlora, least memory" and kept[-1][0][-1] == "trl"
    assert last["trl"] == {"failed": "CUDA is not as TRL wants it"}
    assert last["qlora"] == {"failed": "a fault"}
    assert [what for what, *_ in bench["aims"](last)] == [
        "LoRA's tokens/s to QLoRA's", "QLoRA's least peak memory in torch's allocator, GB"]
    assert bench["aims"]({"trl": last["trl"], "lora": {"out_of_memory": "so much"}}) == []
    # Rows are as long as a recipe takes them.
    words = dict(asked)
    assert words["phi-3-mini-lora-24gb"] > 1.8 * words["phi-3-mini-lora-16gb"]


def test_the_share_of_a_cards_peak_counts_the_output_layer_for_trained_tokens() -> None:
    bench = runpy.run_path(str(ROOT / "scripts" / "bench" / "gpu"))
    flops, shape = bench["flops_per_token"], bench["TRUE"]
    assert flops(shape, 1.0) - flops(shape, 0.25) == 4 * 0.75 * 32064 * 3072
    arms = {"lora": {"tokens_per_second": 1e3, "trained_share": 0.1}, "trl": {"failed": "so"}}
    bench["_add_shares"](arms, shape, "NVIDIA H100 80GB HBM3")
    assert 0 < arms["lora"]["share_of_peak"] < 1 and arms["trl"] == {"failed": "so"}


def test_without_a_gpu_its_bench_says_so_in_a_line(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "bench" / "gpu")], cwd=tmp_path,
                          capture_output=True, text=True, env={**os.environ,
                                                               "CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1 and done.stdout.startswith("skipped, nothing measured")


@pytest.mark.model
def test_each_size_of_the_query_bench_has_an_index_of_words_of_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/bench/peers/query_latency.py", str(tmp_path), "3", "20", "60"],
        cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    kept = json.loads((tmp_path / "documents.words" / "passages.json").read_text())
    assert list(found) == ["20", "60"] and len(kept["ids"]) == 60
    ratios = runpy.run_path(str(ROOT / "scripts/bench/peers/ratios.py"))["query_ratios"]
    rows = [name for name, *_ in ratios(SimpleNamespace(found={"queries": found}))]
    assert "query, 60 chunks, hybrid, p95, to Chroma's own" in rows


def test_the_bench_of_the_demo_reads_a_run_where_it_lies(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "compare-0"
    shutil.copytree(ROOT / "data" / "decisions" / "everything", run)
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    # A run tells which folder its command ran in, which is another one.
    (run / "run.json").write_text(json.dumps({**record, "folder": str(tmp_path)}))
    found = runpy.run_path(str(ROOT / "scripts" / "bench" / "demo"))["last_run"](
        tmp_path, "compare")
    assert (found["path"] / "result.json").is_file()


def test_the_bench_of_retrieval_brings_collections_into_beirs_layout(tmp_path: Path) -> None:
    from phi3kit.compare.beir import read_beir

    given = tmp_path / "given"
    given.mkdir()
    (given / "cran.all.1400").write_text(
        ".I 1\n.T\nwings\nin a stream .\n.A\nlight,m.\n.W\nwings\nin a stream .\n they bend .\n"
        ".I 2\n.T\n.W\nheat .\n")
    (given / "cran.qry").write_bytes(b".I 001\r\n.W\r\nwhat bends .\r\n.I 004\r\n.W\r\nheat .\r\n")
    (given / "cranqrel").write_text("1 1 1\n1 2 4\n2 2 3 \n2 1 -1\n")
    runpy.run_path(str(ROOT / "scripts" / "bench" / "retrieval"))["bring"](
        "cranfield", given, tmp_path / "beir")
    found = read_beir(tmp_path / "beir")
    assert found.documents == {"1": "# wings in a stream .\n\nthey bend .", "2": "heat ."}
    # Its judgements count the queries, whose numbers have gaps; 1 is the best of four grades.
    assert found.queries == {"q1": "what bends .", "q2": "heat ."}
    assert found.relevant == {"q1": {"1": 4, "2": 1}, "q2": {"2": 2}}
