"""Tiny models of other architectures than Phi-3: trained as transformers itself would."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facts_to_learn import Configure

from phi3kit.dataset.encode import IGNORED, Encoded
from phi3kit.errors import ModelError
from phi3kit.finetune.attention import short_rows
from phi3kit.finetune.batches import Collator
from phi3kit.finetune.fused import fuse
from phi3kit.finetune.loss import answer_loss, has_plain_head
from phi3kit.finetune.packing import refuse_if_seen
from phi3kit.finetune.train import finetune
from phi3kit.models.adapters import add_lora
from phi3kit.models.bases import attends_by, stored_dtype
from phi3kit.models.generate import open_generator
from phi3kit.models.linear import target_modules
from phi3kit.models.loading import Loaded, context_of, load_base
from phi3kit.models.preflight import look
from phi3kit.settings import FinetuneSettings, ModelSettings

USUAL = {"vocab_size": 400, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024,
         "initializer_range": 0.3, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
EXPERTS = {**USUAL, "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2,
           "moe_intermediate_size": 24}
# By transformers' own names, with what sets them apart.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "falcon": ("FalconConfig", {**USUAL, "new_decoder_architecture": False}),
    "falcon_h1": ("FalconH1Config", {**USUAL, "mamba_d_ssm": 64, "mamba_n_heads": 8,
                                     "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}),
    "gemma2": ("Gemma2Config", {**USUAL, "head_dim": 16, "sliding_window": 16,
                                "final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0}),
    "gpt2": ("GPT2Config", {"vocab_size": 400, "n_embd": 32, "n_layer": 1, "n_head": 2}),
    "gpt_oss": ("GptOssConfig", {**EXPERTS, "head_dim": 16}),
    "granite": ("GraniteConfig", {**USUAL, "logits_scaling": 8.0, "pad_token_id": 0}),
    "llama": ("LlamaConfig", USUAL),
    "llama4": ("Llama4TextConfig", {**USUAL, "head_dim": 8, "num_local_experts": 4,
                                    "intermediate_size_mlp": 48, "attention_chunk_size": 16}),
    "mamba": ("MambaConfig", {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 1}),
    "mixtral": ("MixtralConfig", EXPERTS),
    "opt": ("OPTConfig", {"vocab_size": 400, "hidden_size": 32, "ffn_dim": 48,
                          "num_hidden_layers": 2, "num_attention_heads": 4, "dropout": 0.0,
                          "max_position_embeddings": 1024, "init_std": 0.3, "pad_token_id": 1,
                          "word_embed_proj_dim": 24}),
    "phimoe": ("PhimoeConfig", EXPERTS),
    "starcoder2": ("Starcoder2Config", {**USUAL, "residual_dropout": 0.1,
                                        "embedding_dropout": 0.1, "sliding_window": None}),
}


def config_of(name: str, **own: Any) -> Any:
    import transformers

    kind, sizes = CONFIGS[name]
    return getattr(transformers, kind)(**{**sizes, **own})


def made(name: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = config_of(name)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attends_by(config),
                                            dtype=torch.float32)


Make = Callable[..., Path]


@pytest.fixture
def saved(tiny_phi3: Path, tmp_path: Path) -> Make:
    """A folder with a tiny model of an architecture; keywords go into its config.json."""

    def make(name: str, **own: Any) -> Path:
        folder = tmp_path / name
        made(name).save_pretrained(folder)
        for file in tiny_phi3.glob("*token*"):
            shutil.copy(file, folder)
        shutil.copy(tiny_phi3 / "chat_template.jinja", folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | own))
        return folder

    return make


def alone(model: Any) -> Loaded:
    return Loaded(model=model, tokenizer=None, name="tiny", fingerprint="", quantization="none",
                  dtype="float32", device="cpu", spec=None, context=256)


def gradients_reach(loaded: Loaded) -> bool:
    """Whether all of an adapter learns something."""
    import torch

    ids = torch.arange(3, 30)[None]
    answer_loss(loaded.model.train(), ids, ids.clone()).backward()
    return all(weight.grad is not None for weight in loaded.model.parameters()
               if weight.requires_grad)


def adapted(model: Any) -> Loaded:
    import torch

    loaded = alone(model)
    add_lora(loaded, rank=4, alpha=8, dropout=0.0, seed=0)
    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:  # while B is zero, A gets no gradient
            torch.nn.init.normal_(weight, std=0.05,
                                  generator=torch.Generator().manual_seed(len(name)))
    return loaded


def rows() -> list[Encoded]:
    import torch

    torch.manual_seed(1)
    found = []
    for length in (40, 23, 57):
        ids = tuple(torch.randint(3, 400, (length,)).tolist())
        found.append(Encoded(ids, (IGNORED,) * (length // 2) + ids[length // 2:]))
    return found


def gradients(model: Any) -> dict[str, Any]:
    return {name: weight.grad for name, weight in model.named_parameters()
            if weight.grad is not None}


@pytest.mark.parametrize("name", ["falcon", "falcon_h1", "gemma2", "gpt_oss", "granite", "opt"])
def test_loss_and_gradients_are_those_of_transformers(name: str) -> None:
    import torch

    base = made(name)
    theirs, ours = adapted(copy.deepcopy(base)).model.train(), adapted(base)
    total = 0.0
    for row in rows():
        loss = theirs(input_ids=torch.tensor([row.input_ids]), use_cache=False,
                      labels=torch.tensor([row.labels])).loss
        loss = loss * sum(label != IGNORED for label in row.labels[1:])
        loss.backward()
        total += loss.item()
    wanted = gradients(theirs)
    assert wanted
    model = ours.model.train()
    fuse(model)
    with short_rows(model):
        plain = has_plain_head(model)
        ways = [False]
        if name in ("gemma2", "granite"):  # the others do not keep packed examples apart
            refuse_if_seen(ours)
            ways.append(True)
        for packed in ways:
            model.zero_grad()
            loss = torch.zeros(())
            for micro in Collator(0, 200, packed=packed)(rows())["micro"]:
                part = answer_loss(model, **micro, plain_head=plain)
                part.backward()
                loss += part.detach()
            assert loss.item() == pytest.approx(total, rel=1e-5)
            found = gradients(model)
            assert found.keys() == wanted.keys()
            for weight, gradient in found.items():
                off = (gradient - wanted[weight]).norm() / wanted[weight].norm()
                assert off < 1e-4, (weight, packed)


def test_a_zero_embedding_does_not_hide_that_logits_are_scaled() -> None:
    model = made("granite")
    assert not model.get_input_embeddings().weight[0].any()
    assert not has_plain_head(model)
    assert has_plain_head(made("llama"))


@pytest.mark.parametrize("name", ["llama4", "phimoe", "opt", "falcon"])
def test_it_trains_and_answers(configure: Configure, saved: Make, name: str) -> None:
    folder = saved(name)
    settings = configure(model__name=str(folder), epochs=1, batch_size=4)
    ahead = look(settings.model, settings.finetune)
    report = finetune(settings)
    assert report.steps == 2
    assert not ahead.problems and ahead.modules == report.target_modules
    assert not {"router", "lm_head"} & set(report.target_modules)
    answer, = open_generator(settings.model, adapter=Path(report.run)).generate(
        [[{"role": "user", "content": "?"}]], max_new_tokens=4, batch_tokens=64)
    assert answer.tokens_out and not answer.error


def test_a_frozen_base_drops_nothing(configure: Configure, saved: Make,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved("starcoder2")
    losses = [finetune(configure(model__name=str(folder), epochs=2, micro_batch_tokens=256),
                       fresh=True).losses for _ in range(2)]
    assert losses[0] == losses[1]
    assert "own dropout (embedding_dropout, residual_dropout) is off" in capsys.readouterr().err
    loaded = load_base(ModelSettings(name=str(folder), device="cpu"), quantization="none")
    assert loaded.model.model.embedding_dropout == 0.1  # who trains all of it keeps it


@pytest.mark.parametrize(("how", "method"), [
    ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
    ({"load_in_4bit": True}, "bitsandbytes"), ({"quant_method": "gptq", "bits": 4}, "gptq"),
    ({"quant_method": "awq", "bits": 4}, "awq"), ({"quant_method": "fp8"}, "fp8")])
def test_weights_that_others_quantised_are_refused(saved: Make, how: dict[str, Any],
                                                   method: str) -> None:
    folder = saved("llama", quantization_config=how)
    for quantization in ("none", "nf4"):
        with pytest.raises(ModelError, match="already quantised") as caught:
            load_base(ModelSettings(name=str(folder), device="cpu"),
                      quantization=quantization)  # type: ignore[arg-type]
        assert f"({method})" in str(caught.value)
        assert "Use the 16-bit model, with --qlora" in str(caught.value)
    problem, = look(ModelSettings(name=str(folder)), FinetuneSettings()).problems
    assert problem == str(caught.value)


def test_gpt_oss_in_mxfp4_is_taken_in_16_bits_and_not_rounded_again(saved: Make) -> None:
    folder = saved("gpt_oss", quantization_config={"quant_method": "mxfp4"})
    model = ModelSettings(name=str(folder))
    assert not look(model, FinetuneSettings()).problems
    problem, = look(model, FinetuneSettings(qlora=True)).problems
    assert "(mxfp4) and are not rounded again" in problem
    with pytest.raises(ModelError, match="not rounded again"):
        load_base(model, quantization="nf4")


def test_what_4_bits_leave_out_is_said(configure: Configure, saved: Make,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    experts = str(saved("mixtral"))
    note, = look(ModelSettings(name=experts), FinetuneSettings(qlora=True)).notes
    assert note.startswith("the experts, ") and note.endswith("% of the decoder's weights, are "
                                                              "not rounded to 4 bits and get no "
                                                              "adapter")
    assert not look(ModelSettings(name=experts), FinetuneSettings()).notes
    finetune(configure(model__name=experts, qlora=True, epochs=1))
    assert note in capsys.readouterr().err
    falcon = ModelSettings(name=str(saved("falcon")), device="cpu")
    with pytest.raises(ModelError, match="linear one that can be rounded to 4 bits"):
        load_base(falcon, quantization="nf4")
    assert "rounded to 4 bits" in look(falcon, FinetuneSettings(qlora=True)).problems[0]
    llama = ModelSettings(name=str(saved("llama")))
    assert look(llama, FinetuneSettings(qlora=True)).notes == ()


def test_layers_that_take_no_adapter_are_left_out() -> None:
    for name in ("falcon_h1", "mamba"):
        bare = alone(made(name))
        names = target_modules(bare)
        assert "in_proj" in names and not {"out_proj", "dt_proj"} & set(names)
        assert gradients_reach(adapted(bare.model))
    with pytest.raises(ModelError, match=r"its layers are Conv1D.*Use --full or another model"):
        adapted(made("gpt2"))


def test_the_context_goes_by_other_names_too() -> None:
    from transformers import BloomConfig, MptConfig

    assert context_of(MptConfig(max_seq_len=77), "mpt") == 77
    assert context_of(BloomConfig(seq_length=88), "bloom") == 88
    assert context_of(config_of("gpt2", n_positions=99), "gpt2") == 99
    assert context_of(BloomConfig(max_position_embeddings=11), "bloom") == 11
    with pytest.raises(ModelError, match=r"\(bloom\) does not tell how many tokens it holds"):
        context_of(BloomConfig(), "bloom")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_stored_type_is_the_tensors_where_the_configuration_has_none(
        saved: Make, dtype: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = saved("llama", dtype=None)
    weights = folder / "model.safetensors"
    save_file({name: tensor.to(getattr(torch, dtype))
               for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    assert stored_dtype(str(folder)) == dtype
