"""A training goes on with what another AdamW saved: on a card after a CPU, and back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from phi3kit.errors import RunError
from phi3kit.finetune.moments import fitted

KINDS = ("torch", "bitsandbytes")


def begun(kind: str, weight: Any) -> Any:
    """An optimizer as `trainer._optimizer` names it on a CPU, or on a card."""
    import bitsandbytes
    import torch

    if kind == "torch":
        return torch.optim.AdamW([weight], lr=1e-2, weight_decay=0.0)
    return bitsandbytes.optim.AdamW([weight], lr=1e-2, weight_decay=0.0, optim_bits=32,
                                    is_paged=True)


def stepped(optimizer: Any, weight: Any, seeds: range) -> Any:
    import torch

    for seed in seeds:
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
        optimizer.step()
    return weight.detach().clone()


def saved(optimizer: Any) -> Any:
    """As from a checkpoint's file."""
    import torch

    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("after", KINDS)
def test_either_goes_on_with_the_state_of_either(before: str, after: str) -> None:
    import torch

    start = torch.randn(32, 16, generator=torch.Generator().manual_seed(9))
    whole = torch.nn.Parameter(start.clone())
    expected = stepped(begun("torch", whole), whole, range(5))
    weight = torch.nn.Parameter(start.clone())
    first = begun(before, weight)
    stepped(first, weight, range(3))
    second = begun(after, weight)
    second.load_state_dict(fitted(saved(first), second, Path("c")))
    found = stepped(second, weight, range(3, 5))
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)
    assert torch.equal(found, expected) or "bitsandbytes" in (before, after)
    own, kept = begun(after, weight).state_dict(), second.state_dict()
    assert kept["param_groups"] == own["param_groups"]


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
def test_what_was_paged_is_ordinary_memory_when_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """bitsandbytes marks tensors, the mark is saved with them, and it asks to move what has it."""
    import bitsandbytes.functional
    import torch

    weight = torch.nn.Parameter(torch.zeros(400, 400))
    first = begun("bitsandbytes", weight)

    def paged(of: Any, dtype: Any = torch.float32) -> Any:
        buffer = torch.zeros_like(of, dtype=dtype)
        buffer.is_paged, buffer.page_deviceid = True, 0
        return buffer

    first.get_state_buffer = paged
    asked: list[Any] = []
    monkeypatch.setattr(bitsandbytes.functional, "prefetch_tensor", asked.append)
    stepped(first, weight, range(1))
    assert len(asked) == 2
    state = saved(first)
    second = begun("bitsandbytes", weight)
    second.load_state_dict(fitted(state, second, Path("c")))
    asked.clear()
    stepped(second, weight, range(1, 2))
    assert asked == [] and second.state[weight]["step"] == 2


def test_the_state_of_another_optimizer_is_refused_by_name() -> None:
    import torch

    weight = torch.nn.Parameter(torch.zeros(2, 2))
    other = torch.optim.SGD([weight], lr=1e-2, momentum=0.9)
    stepped(other, weight, range(1))
    with pytest.raises(RunError, match=r"checkpoint-3: .*\(momentum_buffer\)"):
        fitted(saved(other), begun("torch", weight), Path("checkpoint-3"))
