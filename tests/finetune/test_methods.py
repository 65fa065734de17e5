"""Every way to train learns the facts, is itself, and answers on the unchanged base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from facts_to_learn import FACTS, Configure

from phi3kit.dataset.encode import Encoded
from phi3kit.errors import ModelError, SettingsError
from phi3kit.finetune import fused, methods
from phi3kit.finetune.batches import Collator
from phi3kit.finetune.loss import answer_loss
from phi3kit.finetune.train import finetune
from phi3kit.models import adapters
from phi3kit.models.generate import open_generator
from phi3kit.models.loading import Loaded, load_base
from phi3kit.rag import prompt
from phi3kit.settings import ModelSettings

WAYS: dict[str, dict[str, object]] = {
    "rslora": {"rslora": True, "alpha": 12}, "dora": {"dora": True}, "pissa": {"init": "pissa"},
    "pissa-rslora": {"init": "pissa", "rslora": True, "alpha": 12},
    "loftq": {"init": "loftq", "qlora": True}, "qdora": {"dora": True, "qlora": True},
}


def answers(settings: Any, model: ModelSettings, adapter: Path | None) -> list[str]:
    generator = open_generator(model, adapter=adapter)
    prompts = [prompt.build(q, None, instruction=settings.ask.instruction) for q, _ in FACTS]
    return [r.text for r in generator.generate(prompts, max_new_tokens=60, batch_tokens=4096)]


@pytest.mark.parametrize("way", WAYS)
def test_it_learns_the_facts(configure: Configure, way: str) -> None:
    settings = configure(epochs=200, learning_rate=5e-3, **WAYS[way])
    report = finetune(settings)
    assert report.final_loss < 0.05 < report.losses[0]
    assert report.method == ("qlora" if settings.finetune.qlora else "lora")
    assert set(report.variants) == set(way.replace("qdora", "dora").split("-"))
    assert answers(settings, settings.model, Path(report.run)) == [a for _, a in FACTS]


def test_each_takes_another_path_than_plain_lora(configure: Configure) -> None:
    plain, seen = configure(), set()
    for way, own in {"plain": {}, "qlora": {"qlora": True}, **WAYS}.items():
        losses = finetune(configure(**own)).losses
        assert round(losses[-1], 5) not in seen, way
        seen.add(round(losses[-1], 5))
    assert plain.finetune.init == "default"


def adapted(folder: Path, way: str, dtype: Any = "float32") -> Loaded:
    own = methods.FinetuneSettings(**{"rank": 4, "alpha": 8, **WAYS[way]})  # type: ignore[arg-type]
    loaded = methods.load(ModelSettings(name=str(folder), device="cpu", dtype=dtype), own)
    methods.add_adapter(loaded, own)
    return loaded


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=torch.arange(7, 47)[None]).logits.float()


@pytest.mark.parametrize("way", WAYS)
def test_saved_and_loaded_on_the_unchanged_base_it_is_the_same(
    tiny_phi3: Path, tmp_path: Path, way: str,
) -> None:
    import torch

    loaded = adapted(tiny_phi3, way)
    fresh = logits(loaded.model)
    torch.manual_seed(0)
    for parameter in loaded.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn_like(parameter)
    trained = logits(loaded.model)
    assert (trained - fresh).abs().max() > 0.1
    adapters.save(loaded, tmp_path / "adapter", run="r", instruction="i")
    settings = ModelSettings(name=str(tiny_phi3), device="cpu", dtype="float32")
    again = load_base(settings, quantization=loaded.quantization)
    adapters.attach(again, tmp_path)
    assert torch.allclose(logits(again.model), trained, atol=1e-5)


def test_pissa_begins_as_the_base_and_loftq_nearer_to_it_than_rounding(tiny_phi3: Path) -> None:
    import torch

    settings = ModelSettings(name=str(tiny_phi3), device="cpu", dtype="float32")
    base = logits(load_base(settings, quantization="none").model)
    rounded = logits(load_base(settings, quantization="nf4", training=True).model)
    assert torch.allclose(logits(adapted(tiny_phi3, "pissa").model), base, atol=1e-4)
    repaired = logits(adapted(tiny_phi3, "loftq").model)
    assert (repaired - base).norm() < 0.95 * (rounded - base).norm()


@pytest.mark.parametrize("way", WAYS)
def test_the_fast_path_is_right_or_off(learner: Path, way: str) -> None:
    import torch

    loaded = adapted(learner, way)
    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:
            weight.data += 0.02 * torch.randn(weight.shape,
                                              generator=torch.Generator().manual_seed(len(name)))
    ids = tuple(range(10, 50))
    [micro] = Collator(0, 1000)([Encoded(ids, ids), Encoded(ids[:9], ids[:9])])["micro"]

    def gradients() -> tuple[Any, list[Any]]:
        loaded.model.zero_grad()
        loss = answer_loss(loaded.model, **micro)
        loss.backward()
        return loss.detach(), [p.grad for p in loaded.model.parameters() if p.requires_grad]

    loss, slopes = gradients()
    assert (fused.fuse(loaded.model) == 0) == ("dora" in way)
    fast_loss, fast_slopes = gradients()
    fused.unfuse(loaded.model)
    torch.testing.assert_close(fast_loss, loss, rtol=1e-5, atol=1e-4)
    for fast, slope in zip(fast_slopes, slopes, strict=True):
        torch.testing.assert_close(fast, slope, rtol=1e-3, atol=1e-3 * float(slope.abs().max()))


def test_bfloat16_holds_for_them_too(configure: Configure) -> None:
    for own in (WAYS["dora"], WAYS["pissa"], {"full": True, "learning_rate": 2e-3}):
        report = finetune(configure(model__dtype="bfloat16", epochs=25, **own))
        assert report.final_loss < 0.5 * report.losses[0]


@pytest.mark.parametrize(("dtype", "arithmetic", "checkpointing"), [
    ("bfloat16", "bfloat16", False), ("bfloat16", "bfloat16", True), ("auto", "float32", False)])
def test_a_whole_model_computes_in_the_arithmetic_that_is_asked_for(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, dtype: str, arithmetic: str,
    checkpointing: bool,
) -> None:
    import torch
    from safetensors.torch import load_file
    from torch.nn.modules.module import register_module_forward_hook

    monkeypatch.setattr("phi3kit.models.hardware.cpu_has_bfloat16", lambda: True)
    seen = set()

    def watch(layer: Any, given: Any, out: Any) -> None:
        if type(layer).__name__ == "Phi3MLP" and torch.is_grad_enabled():
            seen.add((out.dtype, layer.down_proj.weight.dtype))

    with register_module_forward_hook(watch):
        report = finetune(configure(full=True, model__dtype=dtype, epochs=1,
                                    checkpointing=checkpointing))
    wanted = getattr(torch, arithmetic)
    assert seen == {(wanted, torch.float32)}
    saved = load_file(Path(report.run) / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {wanted}


def test_a_whole_model_is_trained_and_is_a_base_of_its_own(configure: Configure) -> None:
    settings = configure(full=True, epochs=100, learning_rate=2e-3)
    report = finetune(settings)
    run = Path(report.run)
    assert (report.method, report.target_modules) == ("full", ())
    assert report.final_loss < 0.05
    model = load_base(settings.model, quantization="none").model
    assert report.trainable_parameters == sum(p.numel() for p in model.parameters())
    assert {p.name for p in run.iterdir()} == {"model", "run.json", "metrics.jsonl"}
    assert not list(run.rglob("*.bin")) and not list(run.rglob("*.pt"))
    told = json.loads((run / "model" / "phi3kit.json").read_text())
    assert told["fingerprint"] == report.base_fingerprint
    mine = ModelSettings(name=str(run / "model"), device="cpu", dtype="float32")
    assert answers(settings, mine, None) == [a for _, a in FACTS]
    with pytest.raises(ModelError, match=r"trained the whole model.*--model runs/finetune-"):
        open_generator(settings.model, adapter=run)
    assert finetune(settings).reused


@pytest.mark.parametrize(("own", "said"), [
    ({"full": True, "qlora": True}, "finetune.full: not together with finetune.qlora"),
    ({"full": True, "dora": True}, "there is no adapter"),
    ({"full": True, "init": "pissa"}, "finetune.full: not together with finetune.init: pissa"),
    ({"dora": True, "init": "pissa"}, "cannot be rewritten"),
    ({"dora": True, "init": "loftq", "qlora": True}, "lengths"),
    ({"qlora": True, "init": "pissa"}, "loftq is made for 4 bits"),
    ({"init": "loftq"}, "nothing is rounded. Add qlora"),
])
def test_contradictions_are_refused_by_name(configure: Configure, own: dict[str, object],
                                            said: str) -> None:
    with pytest.raises(SettingsError, match=said.replace(".", r"\.")) as caught:
        finetune(configure(**own))
    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


def test_float16_without_a_gpu_is_refused_with_the_reason(configure: Configure) -> None:
    with pytest.raises(ModelError, match=r"model\.dtype: float16 gradients vanish.*bfloat16"):
        finetune(configure(model__dtype="float16"))


def test_an_altered_weight_of_the_base_is_another_base(
    configure: Configure, learner: Path, tmp_path: Path,
) -> None:
    import shutil

    from phi3kit.models.bases import fingerprint

    base = tmp_path / "base"
    shutil.copytree(learner, base)
    settings = configure(epochs=1, model__name=str(base))
    run = Path(finetune(settings).run)
    open_generator(settings.model, adapter=run)
    weights = base / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # one bit of one number; size and everything else are as they were
    weights.write_bytes(bytes(content))
    assert fingerprint(str(base)) != fingerprint(str(learner))
    with pytest.raises(ModelError, match="trained on another base"):
        open_generator(settings.model, adapter=run)
    assert finetune(settings).run != str(run)


@pytest.mark.parametrize(("dtype", "device", "told"), [
    ("bfloat16", "cuda", True), ("auto", "cuda", False), ("float32", "cuda", False),
    ("bfloat16", "cpu", False)])
def test_a_card_that_emulates_bfloat16_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dtype: Any, device: Any,
    told: bool,
) -> None:
    """As a T4 answers: it can, and has no hardware for it."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported",
                        lambda including_emulation=True: including_emulation)
    monkeypatch.setattr("phi3kit.models.loading.load_base", lambda *_, **__: None)
    methods.load(ModelSettings(name="any", device=device, dtype=dtype), methods.FinetuneSettings())
    assert ("model.dtype: auto takes float16" in capsys.readouterr().err) is told
