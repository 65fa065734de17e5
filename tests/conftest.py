"""Shared fixtures: a real, tiny Phi-3 made on the spot, and the command line as a process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

import forked

# What stops a change has to be the change: the same examples each time where nobody looks on.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


def share_cores() -> None:
    """One of several workers: keep to its own cores, so that their threads do not collide."""
    worker, count = os.environ.get("PYTEST_XDIST_WORKER"), os.environ.get(
        "PYTEST_XDIST_WORKER_COUNT")
    if worker and count and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if own := cores[int(worker.removeprefix("gw"))::int(count)]:
            os.sched_setaffinity(0, own)


share_cores()
# Nothing in the tests may reach for a hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A worker takes a file at a time. These take minutes: begun last, they would leave cores idle.
_FIRST = ("test_main_job.py", "test_ingest_hostile.py", "test_scripts.py")


@pytest.fixture(autouse=True, scope="module")
def settled_heap() -> Iterator[None]:
    """What the tests before left, such as libraries, is not searched for garbage again and again.

    Much of what is tested collects garbage, which takes a second where so much is imported.
    """
    gc.collect()
    gc.freeze()
    yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the others stay in their order."""
    items.sort(key=lambda item: item.path.name not in _FIRST)


# Phi-3's own turn format: <|role|>\ncontent<|end|>\n, and <|assistant|>\n to answer.
PHI3_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
PHI3_SPECIALS = ("<unk>", "<s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>",
                 "<|end|>")
SENTENCES = (
    "The seal of the north gate is checked every seven days by the lock keeper.",
    "Answer the question briefly. If you do not know the answer, say: I do not know.",
    "Which grease does the winch need? The winch needs marine grease number four.",
    "Passages: [1] The crane lifts 12 tonnes at 8 metres. Question: how much does it lift?",
    "label this ticket: the pump stopped, the motor hums; pump_fault, gate_fault, other.",
)


def make_tiny_phi3(folder: Path, *, seed: int = 0) -> Path:
    """A randomly initialised Phi3ForCausalLM with a byte-level BPE trained on the spot."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GenerationConfig, Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(SENTENCES, trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(PHI3_SPECIALS), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="<|endoftext|>",
        pad_token="<|endoftext|>", chat_template=PHI3_TEMPLATE, model_max_length=512)
    tokenizer.add_special_tokens({"additional_special_tokens": list(PHI3_SPECIALS[3:])})
    torch.manual_seed(seed)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in PHI3_SPECIALS}
    model = Phi3ForCausalLM(Phi3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        original_max_position_embeddings=512, bos_token_id=ids["<s>"],
        eos_token_id=ids["<|endoftext|>"], pad_token_id=ids["<|endoftext|>"],
        tie_word_embeddings=False))
    model.generation_config = GenerationConfig(
        bos_token_id=ids["<s>"], eos_token_id=[ids["<|endoftext|>"], ids["<|end|>"]],
        pad_token_id=ids["<|endoftext|>"])
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_phi3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Phi-3, shared by the session: read it, do not change it."""
    return make_tiny_phi3(tmp_path_factory.mktemp("tiny-phi3"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_cli(tmp_path: Path) -> Run:
    """Runs `phi3kit` as a user does: a process of its own, in a folder of its own.

    It is forked from one that has imported the libraries, where nothing in the environment is set
    that they or Python would read when they start.
    """

    def run(*args: str, cwd: Path | None = None, input: str | None = None,
            env: dict[str, str] | None = None, timeout: float = 300,
            ) -> subprocess.CompletedProcess[str]:
        if not env and forked.available():
            return forked.run(args, cwd=cwd or tmp_path, input=input, timeout=timeout,
                              env={**os.environ, "NO_COLOR": "1"})
        return subprocess.run(
            [sys.executable, "-m", "phi3kit", *args], cwd=cwd or tmp_path, input=input,
            stdin=subprocess.DEVNULL if input is None else None, capture_output=True, text=True,
            encoding="utf-8", timeout=timeout, env={**os.environ, "NO_COLOR": "1", **(env or {})})

    return run
