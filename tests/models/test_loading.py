"""From a name to weights: what is loaded, what identifies it, what is refused."""

import json

import pytest

from phi3kit.errors import ModelError
from phi3kit.models import bases, hashes, loading
from phi3kit.models.hardware import cpu_has_bfloat16, pick_device, pick_dtype
from phi3kit.settings import ModelSettings


def _load(folder, quantization="none", **more):
    settings = ModelSettings(name=str(folder), dtype="float32", device="cpu")
    return loading.load_base(settings, quantization=quantization, **more)


def _logits(loaded):
    import torch

    ids = torch.arange(7, 47)[None]
    with torch.inference_mode():
        return loaded.model(input_ids=ids).logits.float()


def test_a_folder_is_loaded_as_it_is(tiny, tiny_phi3):
    assert tiny.name == str(tiny_phi3)
    assert (tiny.quantization, tiny.dtype, tiny.device, tiny.context) == (
        "none", "float32", "cpu", 512)
    assert tiny.spec is None
    assert tiny.tokenizer.padding_side == "left"
    assert not tiny.model.training
    assert tiny.fingerprint == bases.fingerprint(str(tiny_phi3))


def test_fingerprint_follows_the_weights_not_the_place(tiny_phi3, tiny_copy):
    from safetensors.torch import load_file, save_file

    assert bases.fingerprint(str(tiny_copy)) == bases.fingerprint(str(tiny_phi3))
    file = tiny_copy / "model.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, file, metadata={"format": "pt"})
    assert bases.fingerprint(str(tiny_copy)) != bases.fingerprint(str(tiny_phi3))


def test_fingerprint_is_not_hashed_twice(tiny_copy, monkeypatch):
    first = bases.fingerprint(str(tiny_copy))
    monkeypatch.setattr(hashes, "sha256_file", lambda _: pytest.fail("hashed again"))
    assert bases.fingerprint(str(tiny_copy)) == first


def test_a_damaged_hash_memo_is_written_anew(tiny_copy):
    from phi3kit.models.packaged import cache_folder

    first = bases.fingerprint(str(tiny_copy))
    for memo in (cache_folder() / "hashes").iterdir():
        memo.write_text("[]")
    assert bases.fingerprint(str(tiny_copy)) == first


def test_nf4_for_answers_has_the_weights_of_nf4_for_training(tiny_phi3):
    plain, four_bit, held = _load(tiny_phi3), _load(tiny_phi3, "nf4", training=True), _load(
        tiny_phi3, "nf4")
    exact, trained, answered = _logits(plain), _logits(four_bit), _logits(held)
    near = (trained - answered).abs().mean()
    far = (exact - answered).abs().mean()
    assert near < far / 20
    assert far > 0.001  # NF4 changes something, or the test above says nothing
    assert held.quantization == four_bit.quantization == "nf4"


def test_nf4_for_answers_holds_the_dequantised_values_exactly(tiny_phi3):
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    four_bit, held = _load(tiny_phi3, "nf4", training=True), _load(tiny_phi3, "nf4")
    layers = [(path, layer) for path, layer in four_bit.model.named_modules()
              if isinstance(layer, Linear4bit)]
    assert len(layers) == 2 * 4  # two layers of qkv, o, gate_up, down; not the output layer
    for path, layer in layers:
        plain = held.model.get_submodule(path)
        assert type(plain) is torch.nn.Linear
        assert layer.weight.quant_state.nested  # double quantisation
        assert layer.weight.quant_state.quant_type == "nf4"
        assert torch.equal(plain.weight, dequantize_4bit(layer.weight.data,
                                                         layer.weight.quant_state))


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda f: (f / "config.json").unlink(), "no config.json"),
    (lambda f: (f / "model.safetensors").unlink(), "pickled weights"),
    (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickled weights"),
    (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100), "damaged weights"),
    (lambda f: (f / "model.safetensors").write_bytes(
        (f / "model.safetensors").read_bytes()[:-1000]), "damaged weights"),
    (lambda f: (f / "config.json").write_text("{"), "cannot be loaded"),
    (lambda f: (f / "config.json").write_text("[]"), "cannot be loaded"),
    (lambda f: (f / "config.json").write_text(
        (f / "config.json").read_text().replace('"hidden_size": 64', '"hidden_size": "64x"')),
     "cannot be loaded"),
    (lambda f: (f / "tokenizer.json").write_text("{"), "cannot be loaded"),
    (lambda f: (f / "adapter_config.json").write_text("{}"), "adapter, not a base"),
])
def test_a_spoilt_folder_is_one_line(tiny_copy, spoil, says):
    spoil(tiny_copy)
    with pytest.raises(ModelError, match=says) as caught:
        _load(tiny_copy)
    assert str(tiny_copy) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_not_made_up(tiny_copy):
    from safetensors.torch import load_file, save_file

    file = tiny_copy / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are missing, 'model.layers.1.mlp.down_proj"):
        _load(tiny_copy)


def test_weights_of_another_shape_are_refused(tiny_copy):
    config = json.loads((tiny_copy / "config.json").read_text())
    (tiny_copy / "config.json").write_text(json.dumps({**config, "intermediate_size": 96}))
    with pytest.raises(ModelError):
        _load(tiny_copy)


def test_code_in_the_models_folder_is_never_run(tiny_copy):
    config = json.loads((tiny_copy / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.Evil"}
    config["model_type"] = "evil"
    (tiny_copy / "config.json").write_text(json.dumps(config))
    (tiny_copy / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="cannot be loaded"):
        _load(tiny_copy)


@pytest.mark.parametrize(("name", "says"), [
    ("phi3-mini", "Did you mean 'phi-3-mini'"),
    ("./nowhere", "no folder"),
    ("phi-3-small", "phi-3-mini or phi-3-medium"),
    ("microsoft/Phi-3-small-8k-instruct", "phi-3-mini or phi-3-medium"),
])
def test_a_name_that_cannot_be_loaded_says_what_can(name, says):
    with pytest.raises(ModelError, match=says):
        bases.resolve_base(name)


def test_names_resolve_to_hub_ids_and_revisions():
    assert bases.resolve_base("phi-3-mini") == ("microsoft/Phi-3-mini-4k-instruct", None)
    assert bases.resolve_base("phi-4", "abc") == ("microsoft/phi-4", "abc")
    assert bases.resolve_base("Qwen/Qwen3-0.6B", "abc") == ("Qwen/Qwen3-0.6B", "abc")


def test_a_folder_wins_over_a_hub_id_of_the_same_name(project):
    (project / "microsoft" / "other").mkdir(parents=True)
    base, revision = bases.resolve_base("microsoft/other", "abc")
    assert base.is_dir()
    assert revision is None


def test_a_hub_that_cannot_be_reached_names_the_ways_out():
    with pytest.raises(ModelError) as caught:
        loading.load_base(ModelSettings(name="phi-3-mini"), quantization="none")
    for way in ("hub cannot be reached", "HF_HUB_OFFLINE", "local folder", "smollm2-135m"):
        assert way in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="no cuda device"):
        pick_device("cuda")
    assert pick_device("cpu") == "cpu"


@pytest.mark.parametrize(("flags", "fast"), [
    ("flags\t\t: fpu avx512f avx512_bf16 amx_tile", True),
    ("flags\t\t: fpu amx_bf16", True),
    ("Features\t: fp asimd i8mm bf16", True),
    ("flags\t\t: fpu avx2 avx512f", False),
    ("", False),
])
def test_bfloat16_needs_hardware(tmp_path, flags, fast):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n")
    assert cpu_has_bfloat16(tmp_path / "cpuinfo") is fast
    assert not cpu_has_bfloat16(tmp_path / "absent")


def test_auto_dtype_follows_the_hardware(monkeypatch):
    from phi3kit.models import hardware

    for fast, dtype in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(hardware, "cpu_has_bfloat16", lambda fast=fast: fast)
        assert pick_dtype("auto", "cpu") == dtype
    assert pick_dtype("float16", "cpu") == "float16"
