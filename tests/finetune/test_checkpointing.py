"""Recomputed activations: the same training, twice the forward passes, less memory held."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from facts_to_learn import Configure

from phi3kit.errors import ModelError
from phi3kit.finetune import answer_trainer, checkpoints, fused
from phi3kit.finetune import trainer as trainers
from phi3kit.finetune.train import finetune
from phi3kit.models.adapters import adapter_folder, add_lora
from phi3kit.models.loading import Loaded, load_base


def weights(run: str | Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(adapter_folder(run) / "adapter_model.safetensors"))


def adapted(configure: Configure, *, qlora: bool = False) -> Loaded:
    loaded = load_base(configure().model, quantization="nf4" if qlora else "none", training=True)
    add_lora(loaded, rank=4, alpha=8, dropout=0.0, seed=0)
    return loaded


def trainer_of(loaded: Loaded, configure: Configure, run: Path, **own: object) -> Any:
    from phi3kit.dataset.encode import Encoded

    rows = [Encoded(tuple(range(10, 42)), tuple(range(10, 42))) for _ in range(4)]
    return trainers.make_trainer(loaded, rows, configure(epochs=1, **own).finetune, run,
                                 lambda line: None, pass_tokens=512)


@contextmanager
def attention_calls(model: Any) -> Iterator[list[int]]:
    """The layer's number at each forward pass of its attention, recomputed ones included."""
    calls: list[int] = []
    layers = model.get_base_model().model.layers
    hooks = [layer.self_attn.register_forward_hook(
        lambda *_, number=number: calls.append(number)) for number, layer in enumerate(layers)]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("qlora", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_losses_and_adapter_are_the_same(
    configure: Configure, tmp_path: Path, qlora: bool, dropout: float,
) -> None:
    """Float32, 10 steps, within 1e-6; with dropout too, whose mask is drawn again."""
    common = {"qlora": qlora, "dropout": dropout, "learning_rate": 1e-3}
    kept = finetune(configure(**common))
    shutil.copytree(kept.run, tmp_path / "kept")
    again = finetune(configure(checkpointing=True, **common), fresh=True)
    assert again.run == kept.run and not again.reused
    assert again.losses == pytest.approx(kept.losses, abs=1e-6)
    before, after = weights(tmp_path / "kept"), weights(again.run)
    assert before.keys() == after.keys()
    assert all(float((before[k] - after[k]).abs().max()) <= 1e-6 for k in before)


@pytest.mark.usefixtures("one_core")  # several would have a pass each
@pytest.mark.parametrize(("checkpointing", "passes"), [(False, 1), (True, 2)])
def test_each_layer_is_computed_again_in_the_backward_pass(
    configure: Configure, tmp_path: Path, checkpointing: bool, passes: int,
) -> None:
    loaded = adapted(configure)
    trainer = trainer_of(loaded, configure, tmp_path / "run", checkpointing=checkpointing)
    with attention_calls(loaded.model) as calls:
        trainer.train()
    assert trainer.state.global_step == 1
    assert sorted(calls) == sorted([0, 1] * passes)


@pytest.mark.parametrize("qlora", [False, True])
def test_less_is_held_and_every_adapter_gets_its_gradient(
    configure: Configure, tmp_path: Path, qlora: bool,
) -> None:
    import torch

    def held(checkpointing: bool) -> tuple[int, dict[str, Any]]:
        loaded = adapted(configure, qlora=qlora)
        trainer_of(loaded, configure, tmp_path / str(checkpointing), checkpointing=checkpointing,
                   qlora=qlora).train()  # leaves the model as it trained it
        fused.fuse(loaded.model)
        loaded.model.zero_grad()
        torch.manual_seed(0)
        for name, weight in loaded.model.named_parameters():
            if "lora_B" in name:  # while B is zero, A gets no gradient
                weight.data.normal_(std=0.02)
        saved: dict[int, int] = {}

        def pack(tensor: Any) -> Any:
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        ids = torch.arange(200).reshape(2, 100)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = answer_trainer.answer_loss(loaded.model, ids, ids.clone())
        frozen = {p.untyped_storage().data_ptr() for p in loaded.model.parameters()}
        loss.backward()
        return (sum(size for at, size in saved.items() if at not in frozen),
                {n: p.grad for n, p in loaded.model.named_parameters() if p.requires_grad})

    (much, kept), (little, recomputed) = held(False), held(True)
    assert little < much / 2
    assert kept.keys() == recomputed.keys()
    for name, gradient in recomputed.items():
        assert gradient is not None and float(gradient.abs().max()) > 0, name
        assert torch.allclose(gradient, kept[name], atol=1e-6), name


def test_after_the_training_nothing_is_recomputed_any_more(
    configure: Configure, tmp_path: Path,
) -> None:
    import torch

    loaded = adapted(configure)
    trainer_of(loaded, configure, tmp_path / "run", checkpointing=True).train()
    base = loaded.model.get_base_model()
    assert base.is_activation_checkpointing
    trainers.keep_activations(loaded.model)
    assert not base.is_activation_checkpointing
    assert not base.get_input_embeddings()(torch.zeros((1, 1), dtype=torch.long)).requires_grad


def test_the_switch_is_no_part_of_the_run(configure: Configure) -> None:
    first = finetune(configure(epochs=1))
    again = finetune(configure(epochs=1, checkpointing=True))
    assert again.reused and again.run == first.run


def test_a_run_that_stopped_goes_on_with_checkpointing(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Out of memory half way: the same run goes on with --checkpointing, to the same adapter."""
    whole = finetune(configure(learning_rate=1e-3))
    shutil.copytree(whole.run, tmp_path / "whole")
    original, calls = answer_trainer.answer_loss, 0

    def runs_out(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise MemoryError
        return original(*args, **kwargs)

    monkeypatch.setattr(answer_trainer, "answer_loss", runs_out)
    with pytest.raises(MemoryError):
        finetune(configure(learning_rate=1e-3), fresh=True)
    monkeypatch.setattr(answer_trainer, "answer_loss", original)
    stopped = checkpoints.newest(Path(whole.run))
    assert stopped is not None
    went_on = finetune(configure(learning_rate=1e-3, checkpointing=True))
    assert went_on.run == whole.run and went_on.losses == pytest.approx(whole.losses, abs=1e-6)
    before, after = weights(tmp_path / "whole"), weights(went_on.run)
    assert all(float((before[k] - after[k]).abs().max()) <= 1e-6 for k in before)


def test_a_model_without_it_is_refused_in_one_line(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = adapted(configure)
    monkeypatch.setattr(type(loaded.model.get_base_model()), "supports_gradient_checkpointing",
                        False)
    with pytest.raises(ModelError, match="--no-checkpointing"):
        trainer_of(loaded, configure, tmp_path / "run", checkpointing=True)
