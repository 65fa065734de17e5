"""A cross-encoder that is trained here, in seconds, orders passages as it was taught."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest

from phi3kit import settings
from phi3kit.errors import ModelError, OutOfMemoryError
from phi3kit.rag.rerank import open_reranker
from phi3kit.rag.retrieve import RERANKED, Retriever, open_retriever
from phi3kit.records import Passage

COLOURS = ("red", "blue", "green", "black")
OTHERS = ("gate", "seal", "winch", "pump")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *COLOURS, *OTHERS)


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder that scores a pair high when the second text names a colour."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("colours")
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer = BertTokenizerFast(tokenizer_object=core, model_max_length=32)
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=32, num_labels=1,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    pairs = [(a, b) for a, b in itertools.product(OTHERS, (*COLOURS, *OTHERS))]
    batch = tokenizer([a for a, _ in pairs], [b for _, b in pairs], return_tensors="pt")
    wanted = torch.tensor([float(b in COLOURS) for _, b in pairs])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            model(**batch).logits[:, 0], wanted)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def passages(*texts: str) -> list[Passage]:
    return [Passage(str(at), text, "a.md", at * 10, at * 10 + 5, score=0.5)
            for at, text in enumerate(texts)]


def test_what_the_model_scores_highest_comes_first(colours: Path):
    given = [passages("winch", "pump", "blue"), [], passages("red", "gate")]
    found = open_reranker(str(colours), device="cpu").order(["gate", "pump", "seal"], given)
    assert [ps[0].text if ps else None for ps in found] == ["blue", None, "red"]
    assert [sorted(p.id for p in ps) for ps in found] == [["0", "1", "2"], [], ["0", "1"]]
    assert all(p.score == 0.5 for ps in found for p in ps)


class Shelf:
    """A store and an embedder whose ranking is given."""

    def __init__(self, texts: list[str]) -> None:
        self.found = [Passage(str(at), text, "a.md", at * 10, at * 10 + 5, score=0.9 - at / 100)
                      for at, text in enumerate(texts)]

    @property
    def fingerprint(self) -> str:
        return "sha256:shelf"

    def encode(self, texts: list[str]) -> list[str]:
        return texts

    def query(self, vectors: list[str], k: int) -> list[list[Passage]]:
        return [self.found[:k] for _ in vectors]


def test_passages_that_do_not_fit_are_one_line(colours: Path, monkeypatch: pytest.MonkeyPatch):
    import torch

    reranker = open_reranker(str(colours), device="cpu")
    monkeypatch.setattr(reranker._model, "forward",
                        lambda *_, **__: torch.empty(2**50, dtype=torch.uint8))
    with pytest.raises(OutOfMemoryError, match=r"reranking 2 passages \(.*leave out ask\.rerank"):
        reranker.order(["gate"], [passages("winch", "pump")])


def test_the_first_thirty_are_read_and_no_more(colours: Path):
    reranker = open_reranker(str(colours), device="cpu")
    texts = [f"gate {at}" for at in range(RERANKED + 10)]
    near = [*texts[:RERANKED - 1], "red", *texts[RERANKED:]]
    far = [*texts[:RERANKED], "red", *texts[RERANKED:]]
    tops = [Retriever(shelf, shelf, reranker=reranker).rank(["pump"], 3, -1.0)[0]
            for shelf in (Shelf(near), Shelf(far))]
    assert [len(top) for top in tops] == [3, 3]
    assert tops[0][0].text == "red" and all(p.text != "red" for p in tops[1])


def test_what_is_too_far_is_not_called_back(colours: Path):
    shelf = Shelf(["gate", "winch", "red"])
    retriever = Retriever(shelf, shelf, reranker=open_reranker(str(colours), device="cpu"))
    assert retriever.rank(["pump"], 3, -1.0)[0][0].text == "red"
    assert {p.text for p in retriever.rank(["pump"], 3, 0.885)[0]} == {"gate", "winch"}
    assert retriever.rank(["pump"], 3, 0.95) == [()]


def test_other_weights_are_another_retriever(colours: Path, tmp_path: Path):
    shelf = Shelf(["gate"])
    shutil.copytree(colours, tmp_path / "other")
    config = json.loads((tmp_path / "other/config.json").read_text())
    (tmp_path / "other/config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-6}))
    prints = {Retriever(shelf, shelf).fingerprint,
              *(Retriever(shelf, shelf, reranker=open_reranker(str(folder))).fingerprint
                for folder in (colours, colours, tmp_path / "other"))}
    assert len(prints) == 3


def test_what_cannot_be_used_is_said(colours: Path, tmp_path: Path):
    with pytest.raises(ModelError, match=r"ask\.rerank: no folder '\./nowhere'"):
        open_reranker("./nowhere")
    with pytest.raises(ModelError, match="reranker is not cached"):
        open_reranker("nobody/nothing")
    pickled = tmp_path / "pickled"
    shutil.copytree(colours, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled"):
        open_reranker(str(pickled))
    own = tmp_path / "own"
    shutil.copytree(colours, own)
    (own / "modules.json").write_text(json.dumps([{"type": "evil.Module", "path": ""}]))
    with pytest.raises(ModelError, match="code of its own"):
        open_reranker(str(own))
    broken = tmp_path / "broken"
    shutil.copytree(colours, broken)
    (broken / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_reranker(str(broken), device="cpu").order(["gate"], [passages("red")])


def test_a_classifier_is_refused(colours: Path, tmp_path: Path):
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    config = BertConfig.from_pretrained(colours, num_labels=3)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "three")
    AutoTokenizer.from_pretrained(colours).save_pretrained(tmp_path / "three")
    with pytest.raises(ModelError, match="3 scores"):
        open_reranker(str(tmp_path / "three"), device="cpu").order(["gate"], [passages("red")])


@pytest.mark.model
def test_the_setting_reaches_the_retriever(colours: Path, project: Path):
    from phi3kit.ingest.reconcile import ingest

    (project / "docs").mkdir()
    for name, text in {"pump": "the pump is tested", "paint": "red"}.items():
        (project / "docs" / f"{name}.md").write_text(text, encoding="utf-8")
    values = settings.load({"ingest.corpus": ("docs",)}).values
    ingest(values)
    plain = open_retriever(values).rank(["pump"], 2, -1.0)[0]
    told = settings.load({"ask.rerank": str(colours), "model.device": "cpu"}).values
    assert plain[0].source == "docs/pump.md"
    assert open_retriever(told).rank(["pump"], 2, -1.0)[0][0].source == "docs/paint.md"
