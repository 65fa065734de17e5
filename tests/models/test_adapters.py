"""Adapters: on the right layers, in float32, bound to their base."""

import json

import pytest

from phi3kit.errors import ModelError
from phi3kit.models import adapters
from phi3kit.models.catalog import find
from phi3kit.models.loading import load_base
from phi3kit.settings import ModelSettings


def _ids():
    import torch

    return torch.arange(7, 47)[None]


def _logits(model):
    import torch

    with torch.inference_mode():
        return model(input_ids=_ids()).logits.float()


def _adapt(loaded, scale=0.05):
    """An adapter that changes something, as training would leave it."""
    import torch

    model = adapters.add_lora(loaded, rank=4, alpha=8, dropout=0.0, seed=0)
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=scale)
    model.eval()
    return model


@pytest.fixture
def run(tiny, tmp_path):
    _adapt(tiny)
    adapters.save(tiny, tmp_path / "run" / "adapter", run="finetune-1", instruction="Be brief.")
    return tmp_path / "run"


@pytest.mark.parametrize(("quantization", "dtype"), [
    ("none", "float32"), ("none", "bfloat16"), ("nf4", "bfloat16")])
def test_only_the_adapter_trains_and_in_float32(tiny_phi3, quantization, dtype):
    import torch

    loaded = load_base(ModelSettings(name=str(tiny_phi3), dtype=dtype, device="cpu"),
                       quantization=quantization, training=True)
    model = adapters.add_lora(loaded, rank=4, alpha=8, dropout=0.0, seed=0)
    assert loaded.model is model
    assert model.training
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert {p.dtype for p in trained.values()} == {torch.float32}
    assert all("lora_" in name for name in trained)
    # Phi-3's fused layers, both halves of the adapter, in both decoder layers.
    assert len(trained) == 2 * 2 * len(find("phi-3-mini").target_modules)
    for module in find("phi-3-mini").target_modules:
        assert any(f".{module}." in name for name in trained)
    # Nothing else was widened: no float32 beside a bfloat16 base.
    frozen = {p.dtype for p in model.parameters() if not p.requires_grad}
    assert frozen <= {getattr(torch, dtype), torch.uint8}
    out = model(input_ids=_ids(), labels=_ids())
    out.loss.backward()
    assert all(p.grad is not None for p in trained.values())
    assert any(p.grad.abs().sum() > 0 for p in trained.values())


def test_a_fresh_adapter_changes_nothing_and_follows_its_seed(tiny_settings):
    import torch

    loaded = load_base(tiny_settings, quantization="none")
    before = _logits(loaded.model)
    state = torch.random.get_rng_state()
    model = adapters.add_lora(loaded, rank=4, alpha=8, dropout=0.0, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    model.eval()
    assert torch.equal(_logits(model), before)

    def weights(seed):
        other = load_base(tiny_settings, quantization="none")
        other_model = adapters.add_lora(other, rank=4, alpha=8, dropout=0.0, seed=seed)
        return torch.cat([p.flatten() for p in other_model.parameters() if p.requires_grad])

    mine = torch.cat([p.flatten() for p in model.parameters() if p.requires_grad])
    assert torch.equal(weights(3), mine)
    assert not torch.equal(weights(4), mine)


def test_modules_that_the_model_lacks_are_named(tiny):
    tiny.spec = find("smollm2-135m")
    with pytest.raises(ModelError, match=r"no layers named q_proj, k_proj.* it has down_proj"):
        adapters.target_modules(tiny)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_saved_and_attached_it_answers_as_it_was_trained(tiny_settings, tmp_path, quantization):
    import torch

    loaded = load_base(tiny_settings, quantization=quantization)
    base = _logits(loaded.model)
    trained = _logits(_adapt(loaded))
    assert (trained - base).abs().max() > 0.1
    adapters.save(loaded, tmp_path / "adapter", run="r", instruction="i")
    again = load_base(tiny_settings, quantization=quantization)
    adapters.attach(again, tmp_path)
    assert adapters.is_adapted(again)
    assert torch.allclose(_logits(again.model), trained, atol=1e-5)
    with adapters.without_adapter(again):
        assert torch.equal(_logits(again.model), base)
    assert torch.allclose(_logits(again.model), trained, atol=1e-5)


def test_the_adapter_comes_back_after_an_error_in_the_block(tiny_settings, run):
    import torch

    loaded = load_base(tiny_settings, quantization="none")
    adapters.attach(loaded, run)
    adapted = _logits(loaded.model)
    with pytest.raises(KeyboardInterrupt), adapters.without_adapter(loaded):
        raise KeyboardInterrupt
    assert torch.equal(_logits(loaded.model), adapted)


@pytest.mark.parametrize(("quantization", "free", "folds"), [
    ("none", 2**34, True), ("none", 2**12, False), ("none", None, False), ("nf4", 2**34, False)])
def test_on_a_gpu_the_adapter_is_folded_where_memory_holds_both(
        tiny_settings, run, monkeypatch, quantization, free, folds):
    loaded = load_base(tiny_settings, quantization=quantization)
    loaded.device = "cuda"  # only the choice hangs on it
    monkeypatch.setattr(adapters, "free_memory", lambda device: free)
    adapters.attach(loaded, run)
    assert (loaded.folded is not None) is folds


def test_on_a_gpu_without_room_the_adapter_stays_apart_and_answers_the_same(
        tiny_settings, run, monkeypatch):
    import torch

    folded, apart = (load_base(tiny_settings, quantization="none") for _ in range(2))
    base = _logits(apart.model)
    adapters.attach(folded, run)
    apart.device = "cuda"  # only the choice hangs on it
    monkeypatch.setattr(adapters, "free_memory", lambda device: 2**12)
    adapters.attach(apart, run)
    assert apart.folded is None
    assert torch.allclose(_logits(folded.model), _logits(apart.model), atol=1e-5)
    with adapters.without_adapter(apart):
        assert torch.equal(_logits(apart.model), base)


def test_what_it_was_trained_as_is_written_beside_it(tiny, tiny_phi3, run):
    record = adapters.trained_as(run)
    assert record == adapters.trained_as(run / "adapter")
    assert record["base"] == str(tiny_phi3)
    assert record["fingerprint"] == tiny.fingerprint
    assert (record["quantization"], record["run"], record["instruction"], record["revision"]) == (
        "none", "finetune-1", "Be brief.", None)
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_phi3)
    assert not list(run.glob(".adapter*"))


def test_saving_again_replaces_it(tiny, run):
    adapters.save(tiny, run / "adapter", run="finetune-2", instruction="")
    assert adapters.trained_as(run)["run"] == "finetune-2"


def test_another_base_is_refused_by_its_weights(tiny_phi3, tiny_copy, run):
    from safetensors.torch import load_file, save_file

    file = tiny_copy / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"] += 0.5  # same shapes: only the fingerprint can tell
    save_file(tensors, file, metadata={"format": "pt"})
    other = load_base(ModelSettings(name=str(tiny_copy), dtype="float32", device="cpu"),
                      quantization="none")
    with pytest.raises(ModelError, match="trained on another base") as caught:
        adapters.attach(other, run)
    assert str(tiny_phi3) in str(caught.value)
    assert not adapters.is_adapted(other)


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda a: (a / "adapter_model.safetensors").rename(a / "adapter_model.bin"), "pickled"),
    (lambda a: (a / "adapter_model.safetensors").write_bytes(b"x" * 50), "cannot be loaded"),
    (lambda a: (a / "adapter_config.json").unlink(), "no adapter here"),
    (lambda a: (a / "adapter_config.json").write_text("{"), "cannot be loaded"),
    (lambda a: (a / "phi3kit.json").unlink(), "its base is not known"),
    (lambda a: (a / "phi3kit.json").write_text("{"), "cannot be read"),
    (lambda a: (a / "phi3kit.json").write_text("{}"), "does not tell the base"),
])
def test_a_spoilt_adapter_is_one_line(tiny_settings, run, spoil, says):
    spoil(run / "adapter")
    loaded = load_base(tiny_settings, quantization="none")
    with pytest.raises(ModelError, match=says) as caught:
        adapters.attach(loaded, run)
    assert "\n" not in str(caught.value)


def test_missing_adapter_weights_are_not_made_up(tiny_settings, run):
    from safetensors.torch import load_file, save_file

    file = run / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, file)
    with pytest.raises(ModelError, match="not those of its configuration"):
        adapters.attach(load_base(tiny_settings, quantization="none"), run)


def test_it_is_refused_under_another_template_or_tokenizer(run, tiny_copy):
    def attach():
        adapters.attach(load_base(ModelSettings(
            name=str(tiny_copy), dtype="float32", device="cpu"), quantization="none"),
            run / "adapter")

    attach()
    template = tiny_copy / "chat_template.jinja"
    whole = template.read_text()
    template.write_text(whole.replace("<|end|>", "<|endoftext|>"))
    with pytest.raises(ModelError, match="another chat template") as caught:
        attach()
    assert "\n" not in str(caught.value)
    assert "Put the base's chat template back" in str(caught.value)
    template.write_text(whole)
    tokens = tiny_copy / "tokenizer.json"
    content = json.loads(tokens.read_text())
    vocab = content["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    tokens.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="another tokenizer"):
        attach()
    # An adapter of before this was recorded goes on as it did.
    record = run / "adapter" / "phi3kit.json"
    record.write_text(json.dumps({k: v for k, v in json.loads(record.read_text()).items()
                                  if k != "reads"}))
    attach()


def test_of_a_hub_model_the_adapters_own_commit_is_taken(run, monkeypatch):
    from phi3kit.models import generate

    path = run / "adapter" / "phi3kit.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base": "owner/name",
                                "fingerprint": "hub:owner/name@c0ffee", "revision": "c0ffee"}))
    asked = []
    monkeypatch.setattr(generate, "load_base", lambda settings, **_: asked.append(settings))
    monkeypatch.setattr(adapters, "attach", lambda *_: None)
    monkeypatch.setattr(generate, "LocalGenerator", lambda loaded: None)
    for name, revision in (("owner/name", None), ("owner/name", "main"), ("owner/other", None)):
        generate.open_generator(ModelSettings(name=name, revision=revision), adapter=run)
    generate.open_generator(ModelSettings(name="owner/name"))
    assert [settings.revision for settings in asked] == ["c0ffee", "main", None, None]


def test_another_commit_of_the_base_is_told_with_the_one_to_set(tiny_settings, run):
    path = run / "adapter" / "phi3kit.json"
    path.write_text(json.dumps({**json.loads(path.read_text()),
                                "fingerprint": "hub:owner/name@c0ffee"}))
    loaded = load_base(tiny_settings, quantization="none")
    loaded.fingerprint = "hub:owner/name@beef"
    with pytest.raises(ModelError, match=r"another base.*Set model\.revision: c0ffee"):
        adapters.attach(loaded, run)
