from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from phi3kit import settings
from phi3kit.errors import ModelError, OutOfMemoryError
from phi3kit.ingest import embed, reconcile
from phi3kit.ingest.embed import open_embedder
from phi3kit.ingest.openvino import batches
from phi3kit.ingest.store import open_store
from phi3kit.models.packaged import minilm

TEXTS = ["The K7 pump needs a new seal every 400 hours.", "grease", "A" * 4000,
         "How often is the K7's seal replaced?", "Schleusenwärter", ""]


@pytest.fixture(scope="module")
def embedder():
    return open_embedder("minilm")


@pytest.fixture
def copy(tmp_path):
    """A copy of the packaged model, to be damaged."""
    return shutil.copytree(minilm(), tmp_path / "model")


@pytest.mark.parametrize("budget", [1, 10, 100])
def test_batches_hold_every_text_once_within_the_budget(budget):
    lengths = [3, 50, 1, 7, 7, 2, 30, 1]
    made = list(batches(lengths, budget))
    assert sorted(at for batch in made for at in batch) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * max(lengths[at] for at in b) <= budget for b in made)


@pytest.mark.model
def test_vectors(embedder):
    advanced = []
    vectors = embedder.encode(TEXTS, advance=advanced.append)
    assert vectors.shape == (len(TEXTS), 384) == (len(TEXTS), embedder.dimension)
    assert vectors.dtype == np.float32 and sum(advanced) == len(TEXTS)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    alone = np.concatenate([embedder.encode([text]) for text in TEXTS])
    assert (vectors * alone).sum(axis=1).min() > 0.999  # order kept, padding ignored
    assert (vectors @ vectors[3]).argsort()[-2] == 0
    assert embedder.encode([]).shape == (0, 384)


@pytest.mark.model
def test_released_weights_leave_memory_and_come_back(embedder):
    before = embedder.encode(TEXTS)
    compiled = weakref.ref(embedder._fast)
    embedder.release()
    assert compiled() is None
    assert np.allclose(embedder.encode(TEXTS), before, atol=1e-6)


@pytest.mark.model
def test_a_batch_that_does_not_fit_is_one_line(monkeypatch):
    import torch

    monkeypatch.setattr(embed, "open_encoder", lambda *_: None)
    for questions, going_on in ((False, "goes on from there"), (True, "new collection")):
        embedder = open_embedder("minilm", device="cpu", questions=questions)
        monkeypatch.setattr(embedder, "_with_torch",
                            lambda _: torch.empty(2**50, dtype=torch.uint8))
        with pytest.raises(OutOfMemoryError, match=r"embedding 6 texts .*ingest\.embedder") as told:
            embedder.encode(TEXTS)
        assert str(told.value).endswith(going_on)


@pytest.mark.model
def test_the_precision_of_this_machine_is_close_to_float32(embedder, monkeypatch):
    from phi3kit.models import hardware

    texts = [f"{a} {b} and the {c}." for a in ("The seal", "A crane", "No gate", "Grease")
             for b in ("lifts 12 tonnes", "opens at 6.2 bar", "was checked on Monday by Mira")
             for c in ("keeper", "winch of the K7 pump", "log")]
    ours = embedder.encode(texts)
    monkeypatch.setattr(hardware, "cpu_has_bfloat16", lambda: False)
    plain = open_embedder("minilm", device="cpu")
    exact = plain.encode(texts)
    assert str(plain._model.dtype) == "torch.float32"
    assert (ours * exact).sum(axis=1).min() >= 0.999


@pytest.mark.model
def test_the_window_is_the_models_own(embedder):
    assert embedder.window == embedder._model.max_seq_length == 256
    assert len(embedder.tokenizer.encode("word " * 1000).ids) == 1002  # no truncation
    assert len(embedder.tokenizer.encode("word").ids) == 3  # no padding


@pytest.mark.model
def test_a_query_finds_its_passage_first(project):
    facts = {"seals.md": "# Seals\n\nThe shaft seal of the K7 pump lasts 400 hours.",
             "grease.txt": "The winch takes marine grease number four.",
             "gates.csv": "gate,keeper\nnorth gate,Mira Olsen\nsouth gate,Jan Brandt\n",
             "cranes.json": json.dumps([{"crane": "C2", "load": "12 tonnes at 8 metres"}])}
    for name, text in facts.items():
        (project / name).write_text(text)
    report = reconcile.ingest(settings.load().values, ["."])
    assert report.chunks == 5 and not report.failed
    store = open_store(Path(report.store), report.collection)
    questions = {"How long does the seal of the K7 last?": "seals.md",
                 "Which lubricant is for the winch?": "grease.txt",
                 "Who looks after the south gate?": "gates.csv",
                 "What weight can the C2 carry?": "cranes.json"}
    found = store.query(embed.open_embedder("minilm").encode(list(questions)), 2)
    assert [row[0].source for row in found] == list(questions.values())
    assert "Jan Brandt" in found[2][0].text
    # The second run, in a process of its own: nothing heavy is imported.
    probe = ("import sys; from phi3kit import settings; from phi3kit.ingest import reconcile; "
             "r = reconcile.ingest(settings.load().values, ['.']); assert len(r.unchanged) == 4; "
             "print([m for m in ('torch', 'sentence_transformers', 'transformers', 'chromadb', "
             "'numpy') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_fingerprint_is_of_weights_and_settings(copy):
    first = open_embedder(str(copy)).fingerprint
    assert first == open_embedder("minilm").fingerprint == open_embedder("MiniLM").fingerprint
    pooling = copy / "1_Pooling" / "config.json"
    pooling.write_text(pooling.read_text().replace("true", "false", 1))
    second = open_embedder(str(copy)).fingerprint
    with (copy / "model.safetensors").open("r+b") as weights:
        weights.seek(-4, 2)
        weights.write(b"abcd")
    assert len({first, second, open_embedder(str(copy)).fingerprint}) == 3


def with_prompts(folder, **prompts):
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prompts": prompts}))


def test_prompts_are_part_of_the_fingerprint_and_leave_less_room(copy):
    plain = open_embedder(str(copy))
    with_prompts(copy, query="query: ", passage="passage: ", other="")
    prompted = open_embedder(str(copy))
    assert prompted.fingerprint != plain.fingerprint
    assert prompted.fingerprint == open_embedder(str(copy), questions=True).fingerprint
    assert prompted.window == plain.window - 2
    with_prompts(copy, query="", document="")
    assert open_embedder(str(copy)).fingerprint == plain.fingerprint
    (copy / "config_sentence_transformers.json").write_text('{"prompts": ["query: "]}')
    with pytest.raises(ModelError, match="'prompts' is no object"):
        open_embedder(str(copy))


@pytest.mark.model
@pytest.mark.parametrize("way", ["openvino", "torch"])
def test_questions_and_passages_are_embedded_with_the_prompts_of_the_model(
        way, copy, embedder, monkeypatch):
    if way == "torch":
        monkeypatch.setattr(embed, "open_encoder", lambda *_: None)
    with_prompts(copy, query="query: ", passage="passage: ")
    for questions, prompt in ((False, "passage: "), (True, "query: ")):
        found = open_embedder(str(copy), questions=questions).encode(TEXTS[:2])
        wanted = embedder.encode([prompt + text for text in TEXTS[:2]])
        assert (found * wanted).sum(axis=1).min() > 0.999
        assert (found * embedder.encode(TEXTS[:2])).sum(axis=1).max() < 0.99


@pytest.mark.model
def test_a_retriever_asks_with_the_prompt_of_questions(copy, project):
    from phi3kit.rag.retrieve import open_retriever

    with_prompts(copy, query="query: ", passage="passage: ")
    (project / "a.md").write_text("# Pumps\n\nThe K7 runs at 6 bar.\n")
    wanted = settings.load({"ingest.embedder": str(copy)}).values
    reconcile.ingest(wanted, ["a.md"])
    asked = open_retriever(wanted).retrieve(["How many bar?"], 1, -1.0)[0][0].score
    one, other = (open_embedder(str(copy), questions=questions).encode([text])[0]
                  for questions, text in ((True, "How many bar?"),
                                          (False, "Pumps\n# Pumps\n\nThe K7 runs at 6 bar.")))
    assert asked == pytest.approx(float(one @ other), abs=1e-3)


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def with_code(folder):
    modules = folder / "modules.json"
    modules.write_text(modules.read_text().replace("sentence_transformers.models.Pooling",
                                                   "custom.Pooling"))


@pytest.mark.parametrize(("damage", "what"), [
    (pickled, "pickled weights"), (with_code, r"code of its own \(custom.Pooling\)"),
    (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    (lambda folder: (folder / "model.safetensors").unlink(), r"no \*.safetensors"),
    (lambda folder: (folder / "modules.json").write_text("{"), "not JSON"),
    (lambda folder: (folder / "modules.json").write_text('{"a": 1}'), "no list of modules"),
    (lambda folder: (folder / "config.json").write_text("[1]"), "no object"),
])
def test_unsafe_or_incomplete_embedders_are_refused(damage, what, copy):
    damage(copy)
    with pytest.raises(ModelError, match=what):
        open_embedder(str(copy))


def needs_code(folder):
    config = folder / "config.json"
    told = json.loads(config.read_text())
    config.write_text(json.dumps({**told, "auto_map": {"AutoModel": "owner/other--modeling.Own"}}))


def test_a_model_whose_architecture_is_code_of_the_hub_is_refused(copy):
    needs_code(copy)
    with pytest.raises(ModelError, match="needs code from the hub, which phi3kit does not run"):
        open_embedder(str(copy))


def lacking(folder, *parts):
    weights = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in weights.items()
               if not any(part in name for part in parts)},
              folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.model
@pytest.mark.parametrize("way", ["openvino", "torch"])
def test_a_model_that_lacks_weights_is_refused(way, copy, monkeypatch):
    if way == "torch":
        monkeypatch.setattr(embed, "open_encoder", lambda *_: None)
    lacking(copy, "position_embeddings", ".intermediate.")
    with pytest.raises(ModelError, match="lacks 13 of its weights, such as embeddings"):
        open_embedder(str(copy), device="cpu").encode(["x"])


@pytest.mark.model
def test_a_layer_that_no_embedder_uses_may_be_missing(copy):
    lacking(copy, "pooler.")
    found = open_embedder(str(copy), device="cpu").encode(TEXTS[:2])
    assert np.allclose(found, open_embedder("minilm", device="cpu").encode(TEXTS[:2]), atol=1e-3)


@pytest.mark.model
def test_damaged_weights_are_one_line(copy):
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_embedder(str(copy)).encode(["x"])


@pytest.mark.parametrize("name", ["owner/none-such-model", "none-such-model", "./none", "a b"])
def test_an_embedder_that_is_not_there(name):
    with pytest.raises(ModelError, match=r"hub cannot be reached|no folder"):
        open_embedder(name)


def test_torch_has_one_batch_at_a_time(monkeypatch):
    """Whoever embeds from several threads: memory is meant to hold one."""
    embedder = open_embedder("minilm")
    vars(embedder).update(_fast=None, dimension=4)
    at_work, most = [], []

    def slowly(self, texts):
        at_work.append(texts)
        time.sleep(0.05)
        most.append(len(at_work))
        at_work.remove(texts)
        return np.ones((len(texts), 4), dtype=np.float32)

    monkeypatch.setattr(embed.LocalEmbedder, "_with_torch", slowly)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(embedder.encode, [["one"], ["two"], ["three"]]))
    assert most == [1, 1, 1]
