"""`phi3kit plan` as a process."""

from __future__ import annotations

import json
import re
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_json_of_one_method(run_cli: Any) -> None:
    done = run_cli("plan", "--model", "phi-3-mini", "--method", "qlora", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["total"] == sum(plan["parts"].values())
    assert set(plan["gpus"]) == {"24", "40", "48", "80", "141"}


def test_all_methods_in_a_table(run_cli: Any) -> None:
    done = run_cli("plan", "--model", "70B")
    assert done.returncode == 0, done.stderr
    for word in ("full", "lora", "qlora", "activations", "of 80 GB"):
        assert word in done.stdout


def test_what_does_not_fit_exits_with_3_and_says_what_would(run_cli: Any) -> None:
    done = run_cli("plan", "--model", "phi-3-mini", "--method", "lora", "--gpu-memory", "8")
    assert done.returncode == 3
    assert "--method qlora --checkpointing takes" in done.stdout


def test_the_model_comes_from_the_project_file(run_cli: Any, tmp_path: Any) -> None:
    (tmp_path / "phi3kit.yaml").write_text("model:\n  name: phi-4\n")
    assert run_cli("plan", "--method", "lora").stdout.startswith("phi-4: 14.66 B")


def test_checkpointing_comes_from_the_project_file_and_the_flag_goes_before_it(
    run_cli: Any, tmp_path: Any,
) -> None:
    (tmp_path / "phi3kit.yaml").write_text("finetune:\n  checkpointing: true\n")
    args = ("plan", "--model", "phi-3-mini", "--method", "lora")
    assert "Assumed: gradient checkpointing" in run_cli(*args).stdout
    assert "Assumed: activations kept" in run_cli(*args, "--no-checkpointing").stdout


def test_rows_and_passes_come_from_the_project_file_and_flags_go_before_it(
    run_cli: Any, tmp_path: Any,
) -> None:
    def told(*flags: str) -> str:
        done = run_cli("plan", "--model", "phi-3-mini", "--method", "lora", *flags)
        return str(done.stdout.splitlines()[0].partition("parameters, ")[2])

    assert told() == "context 1024, batch 1"  # what `finetune` does when nothing is set
    (tmp_path / "phi3kit.yaml").write_text(
        "finetune: {max_tokens: 4096, micro_batch_tokens: 8192, batch_size: 16}\n")
    assert told() == "context 4096, batch 2"
    assert told("--context", "1024") == "context 1024, batch 8"
    assert told("--batch", "3") == "context 4096, batch 3"
    (tmp_path / "phi3kit.yaml").write_text(
        "finetune: {max_tokens: 512, micro_batch_tokens: 8192, batch_size: 4}\n")
    assert told() == "context 512, batch 4"
    done = run_cli("plan", "--context", "2048", "--dry-run")
    assert re.search(r"finetune\.max_tokens +2048 +\(flag\)", done.stdout)


def test_passes_are_as_full_as_the_card_holds_and_it_says_so(
    run_cli: Any, tmp_path: Path,
) -> None:
    args = ("plan", "--model", "phi-3-mini", "--gpu", "A100", "--checkpointing")
    told = run_cli(*args).stdout
    assert told.startswith("phi-3-mini: 3.82 B parameters, context 1024, batch 1 for full, "
                           "8 for lora, 8 for qlora\n")
    assert "8,192 tokens in a pass of lora: all rows of an optimizer step, which 80.0 GB" in told
    assert "context 1024, batch 1\n" in run_cli(*args, "--method", "full").stdout
    plans = json.loads(run_cli(*args[:-1], "--json").stdout)
    assert [plan["batch"] for plan in plans] == [1, 8, 8]
    assert all(plan["total"] < 80e9 for plan in plans[1:])
    endless = run_cli("plan", "phi-3-mini", "--method", "lora", "--gpu-memory", "inf")
    assert "8,192 tokens in a pass of lora" in endless.stdout
    marked = run_cli(*args, "--markdown").stdout
    assert "batch 1 for full, 8 for lora" in marked
    (tmp_path / "phi3kit.yaml").write_text("finetune: {micro_batch_tokens: 2048}\n")
    one = run_cli(*args).stdout
    assert "context 1024, batch 2\n" in one and "tokens in a pass of" not in one


CONFIG = {"model_type": "mistral", "hidden_size": 4096, "num_hidden_layers": 32,
          "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
          "vocab_size": 32000, "max_position_embeddings": 32768}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_hub_model_is_planned_from_its_cached_config(run_cli: Any, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--some--model" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(CONFIG))
    refs = tmp_path / "hub" / "models--some--model" / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    done = run_cli("plan", "some/model", "--method", "lora",
                   env={"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("some/model: 7.24 B")


def test_a_hub_model_that_cannot_be_had_is_one_line_with_the_ways_out(
    run_cli: Any, tmp_path: Path,
) -> None:
    done = run_cli("plan", "some/model", env={"HF_HUB_CACHE": str(tmp_path / "hub"),
                                              "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "some/model" in done.stderr and "config.json" in done.stderr and "7B" in done.stderr


def test_of_a_hub_model_its_config_alone_is_fetched(run_cli: Any, tmp_path: Path) -> None:
    body = json.dumps(CONFIG).encode()
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            for name, value in {"ETag": '"1"', "X-Repo-Commit": COMMIT,
                                "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        done = run_cli("plan", "some/model", "--method", "lora", env={
            "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "0",
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"})
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("some/model: 7.24 B")
    assert asked and {path.rpartition("/")[2] for path in asked} == {"config.json"}


def test_an_unknown_model_is_one_line(run_cli: Any) -> None:
    done = run_cli("plan", "--model", "no-such")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "such as 7B" in done.stderr


def test_keeping_activations_takes_more(run_cli: Any) -> None:
    args = ("plan", "--model", "phi-3-mini", "--method", "qlora", "--json")
    less, more = (json.loads(run_cli(*args, flag).stdout)["parts"]["activations"]
                  for flag in ("--checkpointing", "--no-checkpointing"))
    assert more > 3 * less


def test_a_card_by_name_tells_fit_hours_and_cost(run_cli: Any) -> None:
    done = run_cli("plan", "--model", "phi-3-mini", "--gpu", "rtx-4090", "--examples", "1000",
                   "--tokens-per-example", "200", "--epochs", "2", "--price", "2",
                   "--checkpointing")
    assert done.returncode == 0, done.stderr
    assert "1,000 examples of 200 tokens (as given); hours to train on 400,000 tokens" in (
        done.stdout)
    assert re.search(r"lora: fits into 24 GB \(RTX 4090\); at most --batch \d+", done.stdout)
    assert "cost at 2 an hour" in done.stdout and "full: does not fit" in done.stdout
    assert re.search(r"full .* if it fitted", done.stdout)
    assert "not measured" in done.stdout


def test_the_json_holds_the_hours_and_what_they_cost(run_cli: Any) -> None:
    args = ("plan", "--model", "phi-3-mini", "--method", "qlora", "--gpu", "A100", "--examples",
            "10", "--json")
    plan = json.loads(run_cli(*args, "--price", "3").stdout)
    assert plan["dataset"]["tokens"] == 3000 and plan["time"]["tokens"] == 9000
    assert plan["time"]["low"] < plan["time"]["expected"] < plan["time"]["high"]
    assert plan["time"]["cost"]["expected"] == 3 * plan["time"]["expected"]
    assert json.loads(run_cli(*args).stdout)["time"]["cost"] is None


def test_examples_are_no_longer_than_training_lets_them_be(run_cli: Any) -> None:
    args = ("plan", "--model", "phi-3-mini", "--method", "qlora", "--gpu", "A100", "--examples",
            "10", "--epochs", "1", "--json", "--context", "512", "--tokens-per-example")
    dataset = json.loads(run_cli(*args, "2000").stdout)["dataset"]
    assert (dataset["tokens"], dataset["longest"]) == (5120, 512)
    assert "finetune.max_tokens, 512 of 2,000," in dataset["how"]
    assert json.loads(run_cli(*args, "512").stdout)["dataset"]["how"] == "as given"


def test_several_cards_hold_it_together_and_are_paid_for_together(
    run_cli: Any, tmp_path: Path,
) -> None:
    args = ("plan", "70B", "--method", "qlora", "--context", "2048", "--checkpointing", "--gpu",
            "L40S", "--examples", "100", "--price", "1", "--json")
    # As full on two as on one, or QLoRA would unpack more often there.
    (tmp_path / "phi3kit.yaml").write_text("finetune: {micro_batch_tokens: 512}\n")
    one, two = (run_cli(*args, "--gpus", number) for number in ("1", "2"))
    assert (one.returncode, two.returncode) == (3, 0), two.stderr
    alone, both = json.loads(one.stdout), json.loads(two.stdout)
    assert (alone["fits"], both["fits"]) == (False, True)
    assert both["time"]["low"] == pytest.approx(alone["time"]["low"] / 2)
    assert both["time"]["cost"]["low"] == pytest.approx(alone["time"]["cost"]["low"])
    assert "fits into 2 × 48 GB (L40S)" in run_cli(*args[:-1], "--gpus", "2").stdout
    nameless = run_cli("plan", "70B", "--gpus", "2")
    assert nameless.returncode == 2 and "--gpu-memory" in nameless.stderr
    idle = run_cli(*args, "--gpus", "9")
    assert idle.returncode == 2 and "finetune.batch_size" in idle.stderr


def test_what_no_number_of_cards_holds_names_the_change_without_a_card(run_cli: Any) -> None:
    told = run_cli("plan", "70B", "--context", "2048")
    assert told.returncode == 0
    assert "--checkpointing takes 5 of 24 GB, 2 of 40 GB, 2 of 48 GB" in told.stdout
    marked = run_cli("plan", "70B", "--context", "2048", "--markdown").stdout
    assert "takes 5 of 24 GB, 2 of 40 GB, 2 of 48 GB" in marked


def test_the_largest_batch_and_context_fit_and_more_does_not(run_cli: Any) -> None:
    args = ("plan", "--model", "phi-3-mini", "--method", "lora", "--gpu", "L4", "--json")
    plan = json.loads(run_cli(*args, "--context", "512").stdout)

    def fits(batch: int, context: int) -> bool:
        told = run_cli(*args, "--batch", str(batch), "--context", str(context)).stdout
        return bool(json.loads(told)["fits"])

    batch, context = plan["largest_batch"], plan["longest_context"]
    assert (fits(batch, 512), fits(batch + 1, 512)) == (True, False)
    rows = plan["batch"]
    assert (fits(rows, context), fits(rows, context + 256)) == (True, False)


def test_a_dataset_is_counted_with_the_models_own_tokenizer(
    run_cli: Any, tiny_phi3: Path, tmp_path: Path,
) -> None:
    from transformers import AutoTokenizer

    from phi3kit.models.chat import render
    from phi3kit.settings import AskSettings

    (tmp_path / "train.jsonl").write_text(
        '{"question": "What holds the chain?", "answer": "The rope."}\n{"question": 3}\n')
    done = run_cli("plan", "--model", str(tiny_phi3), "--dataset", "train.jsonl", "--method",
                   "lora", "--epochs", "2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    tokenizer = AutoTokenizer.from_pretrained(tiny_phi3)
    text = render(tokenizer, [{"role": "system", "content": AskSettings().instruction},
                              {"role": "user", "content": "What holds the chain?"},
                              {"role": "assistant", "content": "The rope."}], generation=False)
    counted = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert told["dataset"]["tokens"] == counted and told["time"]["tokens"] == 2 * counted
    assert "counted with" in told["dataset"]["how"]
    assert told["dataset"]["skipped"][0]["where"] == "train.jsonl:2"


@pytest.mark.model
def test_the_plan_for_the_demo_holds_what_the_demo_took(run_cli: Any, tmp_path: Path) -> None:
    """Tokens within a tenth, seconds between low and high, from the files alone."""
    shutil.copy(ROOT / "data/phi3kit.yaml", tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("train.jsonl", "questions.jsonl"):
        shutil.copy(ROOT / "data" / name, tmp_path / "data")
    done = run_cli("plan", "--dataset", "data/train.jsonl", "--method", "qlora", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    measured = json.loads((ROOT / "docs/measured/demo.json").read_text())["finetune"]
    assert told["dataset"]["examples"] == measured["examples"]
    assert told["time"]["tokens"] == pytest.approx(measured["tokens"], rel=0.1)
    assert told["time"]["low"] <= measured["seconds"] / 3600 <= told["time"]["high"]


def test_without_a_tokenizer_the_tokens_are_estimated_and_it_says_so(
    run_cli: Any, tmp_path: Path,
) -> None:
    (tmp_path / "train.jsonl").write_text(
        json.dumps({"question": "q" * 400, "answer": "a" * 40}) + "\n")
    (tmp_path / "phi3kit.yaml").write_text(
        "model:\n  name: 7B\nfinetune:\n  dataset: train.jsonl\n")
    told = json.loads(run_cli("plan", "--gpu", "H100", "--method", "lora", "--json").stdout)
    assert 110 <= told["dataset"]["tokens"] <= 160
    assert "estimated" in told["dataset"]["how"]
    assert "dataset" not in json.loads(run_cli("plan", "--method", "lora", "--json").stdout)


def test_a_dataset_that_cannot_be_read_is_one_line(run_cli: Any) -> None:
    done = run_cli("plan", "--dataset", "none.jsonl")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "none.jsonl" in done.stderr


def test_a_price_is_of_a_card_that_is_named_or_of_a_machine_without(run_cli: Any) -> None:
    args = ("plan", "--method", "lora", "--examples", "100", "--price", "3", "--json")
    unnamed = run_cli(*args)
    assert unnamed.returncode == 2 and unnamed.stdout == ""
    assert "--price" in unnamed.stderr and "--device cpu" in unnamed.stderr
    time = json.loads(run_cli(*args, "--device", "cpu").stdout)["time"]
    assert time["cost"]["expected"] == 3 * time["expected"]


def test_an_unknown_card_is_one_line_with_the_nearest(run_cli: Any) -> None:
    done = run_cli("plan", "--gpu", "rtx 4900")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Did you mean 'RTX 4090'?" in done.stderr


@pytest.mark.parametrize("wrong", [
    ("--gpu", "4090", "--gpu-memory", "3"), ("--price", "1"),
    ("--dataset", "a.jsonl", "--examples", "3"), ("--calibration", "--dataset", "a.jsonl"),
    ("--tokens-per-example", "900"), ("--calibration", "--tokens-per-example", "900"),
    ("--calibration", "--gpu", "A100"), ("--calibration", "--no-checkpointing")])
def test_options_that_contradict_are_wrong_usage(run_cli: Any, wrong: tuple[str, ...]) -> None:
    assert run_cli("plan", *wrong).returncode == 2


def test_dry_run_names_each_value_and_its_source(run_cli: Any) -> None:
    done = run_cli("plan", "--epochs", "5", "--dry-run")
    assert done.returncode == 0
    assert re.search(r"finetune\.epochs +5\.0 +\(flag\)", done.stdout)
    assert re.search(r"finetune\.checkpointing +false +\(default\)", done.stdout)
    assert "null  (default: chosen by the device)" in done.stdout
    assert "memory" not in done.stdout.replace("memory_", "")


def test_the_model_may_stand_alone_as_a_size(run_cli: Any) -> None:
    assert run_cli("plan", "70b", "--method", "qlora").stdout.startswith("70b: 70.00 B")
    assert run_cli("plan", "70b", "--model", "7b").returncode == 2


def test_markdown_holds_the_tables(run_cli: Any) -> None:
    done = run_cli("plan", "7b", "--markdown", "--gpu-memory", "24", "--examples", "10")
    assert done.returncode == 0, done.stderr
    assert "| part | full | lora | qlora |" in done.stdout
    assert "| cards | full | lora | qlora |" in done.stdout
    assert "| method | low | expected | high |  |" in done.stdout
    assert run_cli("plan", "7b", "--markdown", "--json").returncode == 2


def test_the_json_has_both_ends_and_each_change_with_its_saving(run_cli: Any) -> None:
    done = run_cli("plan", "phi-3-mini", "--method", "lora", "--gpu-memory", "8", "--json")
    assert done.returncode == 3
    plan = json.loads(done.stdout)
    assert sum(plan["low"].values()) < plan["total"] < sum(plan["high"].values())
    assert plan["gpus_low"]["24"] <= plan["gpus"]["24"] <= plan["gpus_high"]["24"]
    assert all(change["saves"] == plan["total"] - change["total"] for change in plan["changes"])


def test_a_process_on_a_cpu_is_planned_by_device(run_cli: Any) -> None:
    done = run_cli("plan", "smollm2-135m", "--device", "cpu", "--method", "qlora")
    assert done.returncode == 0, done.stderr
    assert "resident memory of the process" in done.stdout
    assert "GPUs needed" not in done.stdout
    assert run_cli("plan", "7b", "--device", "cpu", "--gpu", "A100").returncode == 2


def test_calibration_shows_runs_beside_their_plans(
    run_cli: Any, tiny_phi3: Path, tmp_path: Path,
) -> None:
    (tmp_path / "train.jsonl").write_text("".join(
        json.dumps({"question": f"Number {n}?", "answer": f"{n * n}"}) + "\n" for n in range(4)))
    trained = run_cli("finetune", "--model", str(tiny_phi3), "--dataset", "train.jsonl",
                      "--epochs", "1")
    assert trained.returncode == 0, trained.stderr
    told = run_cli("plan", "--calibration")
    assert told.returncode == 0, told.stderr
    assert "farthest off: memory" in told.stdout
    found = json.loads(run_cli("plan", "--calibration", "runs", "--json").stdout)
    assert len(found["rows"]) == 1
    assert "| run | method |" in run_cli("plan", "--calibration", "--markdown").stdout
    none = run_cli("plan", "--calibration", "elsewhere")
    assert none.returncode == 1 and none.stderr.count("\n") == 1


def test_what_the_activations_of_a_card_leave_out_is_told(project: Path, run_cli: Any) -> None:
    (project / "phi3kit.yaml").write_text("finetune: {dora: true, dropout: 0.1}\n")
    said = run_cli("plan", "7B", cwd=project).stdout
    for left_out in ("lora leave out what the layers of DoRA", "full leave out what full fine-tun",
                     "qlora leave out what layers with dropout keep (finetune.dropout): up to"):
        assert f"Assumed: the activations of {left_out}" in said
    (project / "phi3kit.yaml").write_text("finetune: {rank: 8}\n")
    assert "leave out" not in run_cli("plan", "7B", "--method", "lora", cwd=project).stdout
    process = run_cli("plan", "7B", "--method", "full", "--device", "cpu", cwd=project).stdout
    assert "Assumed" in process and "leave out" not in process
