"""Micro-batches side by side give the gradients, bits and examples of one after the other."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from adapted_model import base

from phi3kit.dataset.encode import IGNORED, Encoded
from phi3kit.errors import ModelError
from phi3kit.finetune import packing
from phi3kit.finetune.attention import lengths_of, short_rows
from phi3kit.finetune.batches import Collator, step_groups
from phi3kit.finetune.fused import fuse, unfuse
from phi3kit.finetune.lanes import Lanes, lanes_for, room_of, shared_out
from phi3kit.finetune.loss import answer_loss
from phi3kit.finetune.packing import balanced, is_laid_out
from phi3kit.models.loading import Loaded
from phi3kit.settings import FinetuneSettings


@pytest.fixture(scope="module")
def loaded(tiny_phi3: Path) -> Loaded:
    return base(tiny_phi3)


@pytest.fixture
def two_cores() -> Any:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def rows(*lengths: int) -> list[Encoded]:
    return [Encoded(tuple((at * 7 + n * 31) % 250 + 1 for at in range(n)),
                    (IGNORED,) * (n // 2) + tuple((at * 7 + n * 31) % 250 + 1
                                                  for at in range(n // 2, n)))
            for n in lengths]


def trained(model: Any) -> list[Any]:
    return [p for p in model.parameters() if p.requires_grad]


def gradients(loaded: Loaded, lanes: Lanes, micro: list[Any]) -> tuple[float, list[Any]]:
    parameters = trained(loaded.model)
    for p in parameters:
        p.grad = None
    with short_rows(loaded.model):
        loss = lanes.backward(parameters, micro, lambda m: answer_loss(loaded.model, **m))
    return float(loss), [p.grad.clone() for p in parameters]


@pytest.mark.parametrize("packed", [False, True])
def test_gradients_are_those_of_one_padded_batch_and_the_same_bits_each_time(
        loaded: Loaded, two_cores: int, packed: bool) -> None:
    import torch

    examples = rows(40, 9, 17, 33, 64, 150, 8, 21)
    parameters = trained(loaded.model)
    whole, = Collator(0, 10_000)(examples)["micro"]
    wanted = torch.autograd.grad(answer_loss(loaded.model, **whole), parameters)
    lanes = Lanes(two_cores, 64)
    micro = Collator(0, 128, packed=packed, lanes=2, room=64)(examples)["micro"]
    assert any(m["input_ids"].numel() > 64 for m in micro)  # one goes by itself
    fuse(loaded.model)
    try:
        loss, found = gradients(loaded, lanes, micro)
        assert loss == pytest.approx(answer_loss(loaded.model, **whole).item(), rel=1e-5)
        for one, other in zip(found, wanted, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
        for _ in range(5):
            again, bits = gradients(loaded, lanes, micro)
            assert again == loss
            assert all(torch.equal(a, b) for a, b in zip(found, bits, strict=True))
    finally:
        unfuse(loaded.model)


def test_each_lane_has_its_thread_and_its_cores_and_the_main_thread_gets_its_own_back(
        loaded: Loaded, two_cores: int) -> None:
    import torch

    seen: list[tuple[int, int]] = []
    met = threading.Barrier(2)

    def loss_of(micro: Any) -> Any:
        seen.append((threading.get_ident(), torch.get_num_threads()))
        met.wait(10)  # both at once, or this breaks
        return answer_loss(loaded.model, **micro)

    micro = Collator(0, 64, lanes=2, room=32)(rows(20, 20))["micro"]
    Lanes(2, 32).backward(trained(loaded.model), micro, loss_of)
    assert len({ident for ident, _ in seen}) == 2
    assert {cores for _, cores in seen} == {1}
    assert torch.get_num_threads() == 2


def test_one_micro_batch_alone_has_all_cores(loaded: Loaded, two_cores: int) -> None:
    import torch

    seen = []

    def loss_of(micro: Any) -> Any:
        seen.append(torch.get_num_threads())
        return answer_loss(loaded.model, **micro)

    for room in (8, 64):
        Lanes(2, room).backward(trained(loaded.model),
                                Collator(0, 64)(rows(40))["micro"], loss_of)
    assert seen == [2, 2]


def test_an_error_in_a_lane_is_raised(loaded: Loaded) -> None:
    def loss_of(micro: Any) -> Any:
        raise ModelError("no", where="here", mend="none")

    with pytest.raises(ModelError):
        Lanes(2, 64).backward(trained(loaded.model), Collator(0, 64)(rows(20))["micro"], loss_of)


def test_micro_batches_are_shared_out_by_size() -> None:
    import torch

    micro = [{"input_ids": torch.zeros(1, n)} for n in (10, 70, 30, 40)]
    assert [[m["input_ids"].numel() for m in lane] for lane in shared_out(micro, 2)] == [
        [70, 10], [40, 30]]
    assert len(shared_out(micro[:1], 2)) == 1
    assert shared_out([], 2) == []


@pytest.mark.parametrize("change", [{"dropout": 0.1}, {"full": True}])
def test_what_cannot_go_side_by_side_does_not(loaded: Loaded, two_cores: int,
                                              change: dict[str, Any]) -> None:
    assert lanes_for(loaded, FinetuneSettings()) == 2
    assert lanes_for(loaded, FinetuneSettings(**change)) == 1


def test_rows_beyond_what_a_model_rotates_alike_do_not_meet(
        loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phi3kit.finetune.lanes.longest", lambda model: 100)
    assert room_of(loaded.model, 4096, 2) == 100
    assert room_of(loaded.model, 4096, 1) == 4096
    assert room_of(loaded.model, 64, 2) == 32


@pytest.mark.parametrize(("lengths", "budget", "workers"), [
    ([5, 4, 3, 3, 3], 9, 2), ([1] * 7, 100, 4), ([50, 1, 1], 10, 2), ([9], 3, 2)])
def test_balanced_groups_hold_every_row_once_within_the_budget(
        lengths: list[int], budget: int, workers: int) -> None:
    groups = balanced(lengths, budget, workers)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    totals = [sum(lengths[i] for i in group) for group in groups]
    assert all(total <= budget or len(group) == 1
               for total, group in zip(totals, groups, strict=True))
    assert totals == sorted(totals, reverse=True)


def test_a_step_that_fits_is_one_group_for_each_lane_of_about_the_same_size() -> None:
    widths = [96, 80, 64, 64, 48, 32, 16, 16]
    groups = step_groups(widths, 1024, room=512, lanes=2, packed=True)
    assert [sum(widths[i] for i in group) for group in groups] == [208, 208]


@pytest.mark.parametrize("packed", [True, False])
def test_rows_too_long_for_a_lane_go_together_as_all_cores_compute_them(packed: bool) -> None:
    widths = [272, 288, 320, 64, 64, 48, 48]  # lanes have 256 each, all cores 1,024

    def long(processes: int) -> list[list[int]]:
        groups = step_groups(widths, 1024, room=256, lanes=4, processes=processes, packed=packed)
        assert sorted(at for group in groups for at in group) == list(range(7))
        return [group for group in groups if widths[group[0]] > 256]

    assert [sorted(group) for group in long(1)] == [[0, 1, 2]]
    assert len(long(2)) > 1


def test_rows_laid_end_to_end_are_told_apart_by_where_positions_begin() -> None:
    import torch

    positions = torch.tensor([[0, 1, 2, 0, 0, 1]])
    assert lengths_of(positions, 6) == [3, 1, 2]
    assert lengths_of(torch.arange(6)[None], 6) == [6]
    assert lengths_of(torch.arange(3, 9)[None], 6) == [6]
    assert lengths_of(None, 6) == [6]
    assert lengths_of(positions.expand(2, -1), 6) == [6]


def test_on_a_cpu_examples_go_end_to_end_where_the_model_keeps_them_apart(
        loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    own = FinetuneSettings()
    with short_rows(loaded.model):
        assert is_laid_out(loaded, rows(40), own)
        assert not is_laid_out(loaded, rows(40), FinetuneSettings(dropout=0.1))
        monkeypatch.setattr(packing, "longest", lambda model: 39)
        assert not is_laid_out(loaded, rows(40), own)
    monkeypatch.undo()

    def seen(loaded: Loaded) -> None:
        raise ModelError("it is seen", where="", mend="")

    monkeypatch.setattr(packing, "refuse_if_seen", seen)
    assert not is_laid_out(loaded, rows(40), own)
    with pytest.raises(ModelError):
        is_laid_out(loaded, rows(40), FinetuneSettings(packing=True))
