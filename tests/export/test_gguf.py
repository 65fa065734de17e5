from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from phi3kit.errors import ModelError, RunError
from phi3kit.export import gguf_file
from phi3kit.export.gguf_file import refuse_unsupported, write_gguf
from phi3kit.export.gguf_tokens import vocabulary
from phi3kit.export.run import export
from phi3kit.models.gguf import load_gguf
from phi3kit.settings import load


def metadata(file: Path) -> dict[str, Any]:
    import gguf

    reader = gguf.GGUFReader(file)
    return {name: field.contents() for name, field in reader.fields.items()}


def tensors(file: Path) -> dict[str, Any]:
    import gguf

    return {t.name: t for t in gguf.GGUFReader(file).tensors}


@pytest.mark.parametrize("weights", ["f16", "q8_0"])
def test_a_gguf_file_holds_all_that_serving_needs(lora: Path, tmp_path: Path,
                                                  weights: Any) -> None:
    report = export(load({}).values, lora, to="gguf", out=tmp_path / "g", weights=weights)
    assert [s.name for s in report.stages] == ["as trained", "merged (float32)",
                                               f"GGUF ({weights})"]
    assert report.stages[2].loss == pytest.approx(report.stages[0].loss, abs=0.02)
    assert report.stages[2].same_tokens is not None and report.stages[2].same_tokens > 0.95
    assert report.files == ("export.json", f"{lora.name}.gguf")
    file = tmp_path / "g" / f"{lora.name}.gguf"
    said, held = metadata(file), tensors(file)
    tokens = said["tokenizer.ggml.tokens"]
    assert said["general.architecture"] == "phi3"
    assert tokens[said["tokenizer.ggml.eos_token_id"]] == "<|endoftext|>"
    assert tokens[said["tokenizer.ggml.eot_token_id"]] == "<|end|>"
    assert said["tokenizer.ggml.token_type"][tokens.index("<|end|>")] == 3
    assert said["tokenizer.ggml.pre"] == "gpt-2" and said["tokenizer.ggml.merges"]
    assert "<|assistant|>" in said["tokenizer.chat_template"]
    assert said["phi3.rope.dimension_count"] == 16
    assert {"blk.1.attn_qkv.weight", "blk.1.ffn_up.weight", "output.weight"} <= held.keys()
    assert held["blk.0.ffn_up.weight"].tensor_type.name == weights.upper()
    assert held["blk.0.attn_norm.weight"].tensor_type.name == "F32"


def save(model: Any, tokenizer: Any, folder: Path) -> Path:
    folder.mkdir()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def logits_before_and_after(model: Any, tokenizer: Any, tmp_path: Path) -> tuple[Any, Any]:
    import torch

    model.eval()
    folder = save(model, tokenizer, tmp_path / "hf")
    file = tmp_path / "model.gguf"
    write_gguf(folder, file, config=model.config, tokenizer=tokenizer, model=model,
               weights="f16", name="tiny")
    again = load_gguf(file, like=model.config, device="cpu", name="tiny")
    ids = torch.arange(40, 80)[None]
    with torch.inference_mode():
        return model(ids).logits, again.model(ids).logits


@pytest.mark.parametrize("tied", [False, True])
def test_llama_heads_are_put_in_the_order_of_its_rotation(tiny_phi3: Path, tmp_path: Path,
                                                          tied: bool) -> None:
    """Grouped queries, biases, a head width of its own: all are where a reader expects them."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_phi3)
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=256,
        tie_word_embeddings=tied))
    before, after = logits_before_and_after(model, tokenizer, tmp_path)
    assert torch.allclose(before, after, atol=1e-3)
    held = tensors(tmp_path / "model.gguf")
    # Stored as they stand they would be wrong: the file's rows are interleaved.
    stored = torch.tensor(held["blk.0.attn_q.weight"].data.astype("float32"))
    assert not torch.allclose(stored, model.model.layers[0].self_attn.q_proj.weight, atol=1e-3)
    assert ("output.weight" in held) is not tied


def test_longrope_factors_travel_with_the_long_variants(tiny_phi3: Path, tmp_path: Path) -> None:
    import math

    import torch
    from transformers import AutoTokenizer, Phi3Config, Phi3ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_phi3)
    short, long = [1.0 + i / 10 for i in range(8)], [2.0 + i for i in range(8)]
    torch.manual_seed(1)
    model = Phi3ForCausalLM(Phi3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=2048,
        original_max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": short,
                         "long_factor": long, "original_max_position_embeddings": 128}))
    before, after = logits_before_and_after(model, tokenizer, tmp_path)
    assert torch.allclose(before, after, atol=1e-3)
    said, held = metadata(tmp_path / "model.gguf"), tensors(tmp_path / "model.gguf")
    assert held["rope_factors_long.weight"].data.tolist() == pytest.approx(long)
    assert held["rope_factors_short.weight"].data.tolist() == pytest.approx(short)
    assert said["phi3.rope.scaling.original_context_length"] == 128
    # As transformers computes it, on the model that was just compared.
    assert said["phi3.rope.scaling.attn_factor"] == pytest.approx(
        model.model.rotary_emb.attention_scaling)
    assert said["phi3.rope.scaling.attn_factor"] == pytest.approx(
        math.sqrt(1 + math.log(16) / math.log(128)))


def sentencepiece(tokens: int = 340) -> Any:
    """A tokenizer of Phi-3's and Llama-2's kind: BPE, bytes as a last resort, "▁" for spaces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    specials = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "<|end|>"]
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    core.train_from_iterator(
        ["the seal of the gate is checked", "the winch needs grease", "the crane lifts tonnes"],
        trainers.BpeTrainer(vocab_size=tokens, special_tokens=specials, show_progress=False))
    import json

    data = json.loads(core.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(data)), unk_token="<unk>", bos_token="<s>",
        eos_token="</s>", chat_template="{% for m in messages %}{{ m['content'] }}<|end|>"
                                        "{% endfor %}")


TEXTS = ("the seal of the gate", "the winch lifts grease", "naïve ☂ checked", "tttheee gate gate")


def test_sentencepiece_scores_merge_as_the_list_of_merges_does(tmp_path: Path) -> None:
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM

    tokenizer = sentencepiece()
    words = vocabulary(tokenizer, len(tokenizer) + 3, where="tiny")
    assert words.model == "llama" and not words.merges
    assert words.tokens[-1] == f"[PAD{len(tokenizer) + 2}]" and words.types[-1] == 5
    assert [words.types[words.tokens.index(t)] for t in ("<unk>", "<s>", "<0x0A>", "e")] == [
        2, 3, 6, 1]
    torch.manual_seed(0)
    model = Phi3ForCausalLM(Phi3Config(
        vocab_size=len(tokenizer) + 3, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=128,
        original_max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2))
    folder, file = save(model, tokenizer, tmp_path / "hf"), tmp_path / "model.gguf"
    write_gguf(folder, file, config=model.config, tokenizer=tokenizer, model=model,
               weights="f16", name="tiny")
    again = load_gguf(file, like=model.config, device="cpu", name="tiny").tokenizer
    for text in TEXTS:  # transformers makes the merges anew from the scores
        assert again(text, add_special_tokens=False)["input_ids"] == tokenizer(
            text, add_special_tokens=False)["input_ids"]


def greedy_by_scores(text: str, words: Any) -> list[str]:
    """SentencePiece's own rule: merge the neighbours whose union has the best score, leftmost."""
    scores = dict(zip(words.tokens, words.scores, strict=True))
    pieces = list(text)
    while True:
        unions = [(scores[a + b], -i) for i, (a, b) in
                  enumerate(pairwise(pieces)) if a + b in scores]
        if not unions:
            return pieces
        at = -max(unions)[1]
        pieces[at:at + 2] = [pieces[at] + pieces[at + 1]]


@pytest.mark.parametrize("text", ["the seal of the gate", "tttheee gate gate", "lifts needs"])
def test_llama_cpp_would_cut_as_the_tokenizer_does(text: str) -> None:
    tokenizer = sentencepiece()
    words = vocabulary(tokenizer, len(tokenizer), where="tiny")
    assert greedy_by_scores("▁" + text.replace(" ", "▁"), words) == tokenizer.tokenize(text)


def test_what_cannot_be_written_is_refused_by_name(tiny_phi3: Path) -> None:
    from tokenizers import pre_tokenizers
    from transformers import AutoConfig, AutoTokenizer

    config, tokenizer = (kind.from_pretrained(tiny_phi3) for kind in (AutoConfig, AutoTokenizer))
    with pytest.raises(ModelError, match="llama and phi3, and this model is qwen2"):
        refuse_unsupported(SimpleNamespace(model_type="qwen2"), tokenizer, where="x")
    config.rope_parameters = {"rope_type": "yarn", "rope_theta": 1e4}
    with pytest.raises(ModelError, match="'yarn'"):
        refuse_unsupported(config, tokenizer, where="x")
    config.rope_parameters = {"rope_type": "default", "rope_theta": 1e4}
    config.hidden_act = "gelu"
    with pytest.raises(ModelError, match="'gelu'"):
        refuse_unsupported(config, tokenizer, where="x")
    config.hidden_act = "silu"
    refuse_unsupported(config, tokenizer, where="x")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ModelError, match="Whitespace"):
        refuse_unsupported(config, tokenizer, where="x")


def test_another_architecture_is_refused_before_anything_is_written(
    lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gguf_file, "_ARCHITECTURES", ("llama",))
    with pytest.raises(ModelError, match="this model is phi3"):
        export(load({}).values, lora, to="gguf", out=tmp_path / "g")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["weights", "merges"])
def test_a_file_that_came_out_wrong_is_refused(lora: Path, tmp_path: Path, damage: str,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    if damage == "weights":
        real = gguf_file._converter

        def swapped(config: Any, weights: Any) -> Any:
            convert = real(config, weights)
            return lambda key, tensor: convert(
                key, tensor.flip(0) if "qkv_proj" in key else tensor)

        monkeypatch.setattr(gguf_file, "_converter", swapped)
    else:
        whole = gguf_file.vocabulary
        monkeypatch.setattr(gguf_file, "vocabulary", lambda *a, **k: replace(
            whole(*a, **k), merges=whole(*a, **k).merges[:5]))
    with pytest.raises(RunError, match="nothing was written"):
        export(load({}).values, lora, to="gguf", out=tmp_path / "g")
    assert list(tmp_path.iterdir()) == []


def test_the_name_alone_makes_llama_cpp_strip_white_space(tiny_phi3: Path, tmp_path: Path) -> None:
    """With "phi-3" in the name it looks for Phi-3's tokens, and fails where they are not."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def told(tokenizer: Any, name: str) -> str:
        file = tmp_path / f"{name}-{len(tokenizer)}.gguf"
        write_gguf(folder, file, config=model.config, tokenizer=tokenizer, model=model,
                   weights="f16", name=name)
        return str(metadata(file)["general.name"])

    tokenizer = AutoTokenizer.from_pretrained(tiny_phi3)
    model = AutoModelForCausalLM.from_pretrained(tiny_phi3)
    model.resize_token_embeddings(len(tokenizer) + 2)
    folder = save(model, tokenizer, tmp_path / "hf")
    assert told(tokenizer, "my-phi3") == "my-phi 3"
    tokenizer.add_special_tokens({"additional_special_tokens": [stripping("<|tool|>")]})
    with pytest.raises(ModelError, match="swallow the white space"):
        tokenizer.chat_template = tokenizer.chat_template.replace("'<|'", "'<|tool|>\n<|'")
        told(tokenizer, "mine")
    tokenizer.add_special_tokens({"additional_special_tokens": [stripping("</s>")]})
    assert told(tokenizer, "mine") == "mine (phi-3)"
    assert told(tokenizer, "Phi-3-mini") == "Phi-3-mini"


def stripping(token: str) -> Any:
    from tokenizers import AddedToken

    return AddedToken(token, rstrip=True, special=True)
