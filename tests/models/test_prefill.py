"""What prompts begin with is read once, and every prompt is read as it would be alone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3kit.models import kv_cache, prefill

START = list(range(10, 50))
PROMPTS = [
    [*START, *range(100, 130), 7, 8],
    [*START, *range(100, 130), 9],
    [*START, *range(200, 260), 5],
    [*START, 5, 6],
    [*START, *range(100, 130), 9],  # the same as another
    [*START, *range(100, 130), *range(60, 90), 1],
    [*START, *range(100, 130), *range(60, 90), 2],
]


@pytest.fixture
def model(tiny_phi3: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_phi3, dtype=torch.float32).eval()


def alike(tokens: list[int]) -> st.SearchStrategy[list[list[int]]]:
    """Prompts made of few long pieces, so that many begin alike."""
    piece = st.sampled_from([[t] * n for t in tokens for n in (1, 3, 30)])
    return st.lists(st.lists(piece, min_size=1, max_size=5).map(
        lambda pieces: list(itertools.chain(*pieces))), min_size=1, max_size=9)


@given(alike([1, 2]), st.integers(0, 40))
def test_each_token_is_in_one_branch_of_its_prompt(prompts: list[list[int]], start: int) -> None:
    shared = min(min(map(len, prompts)) - 1, start)
    if any(prompt[:shared] != prompts[0][:shared] for prompt in prompts):
        shared = 0
    reached = [shared] * len(prompts)
    for level in prefill.levels(prompts, shared):
        for branch in level:
            first = prompts[branch.rows[0]]
            for row in branch.rows:
                assert prompts[row][:branch.end] == first[:branch.end]
                assert reached[row] == branch.start < branch.end
        for branch in level:
            for row in branch.rows:
                reached[row] = branch.end
    assert reached == [len(prompt) - 1 for prompt in prompts]


def test_beginnings_that_several_share_are_branches_of_their_own() -> None:
    levels = prefill.levels(PROMPTS, 0)
    assert [sorted((b.start, b.end, len(b.rows)) for b in level) for level in levels] == [
        [(0, 40, 7)],
        [(40, 41, 1), (40, 70, 5), (40, 100, 1)],
        [(70, 71, 1), (70, 100, 2)],
    ]


def test_branches_of_like_length_go_together() -> None:
    lengths = [300, 290, 40, 20, 180]
    groups = list(prefill.alike([prefill.Branch((i,), 5, 5 + n)
                                 for i, n in enumerate(lengths)], most=9))
    assert [[lengths[b.rows[0]] for b in group] for group in groups] == [
        [300, 290], [180], [40, 20]]
    few = prefill.alike([prefill.Branch((i,), 0, 5) for i in range(5)], most=2)
    assert [len(group) for group in few] == [2, 2, 1]


def as_alone(model: Any, prompts: list[list[int]], layers: list[Any]) -> None:
    """The keys and values of `layers` are those that each prompt has for itself."""
    import torch

    with torch.inference_mode():
        for row, prompt in enumerate(prompts):
            wanted = model(input_ids=torch.tensor([prompt[:-1]]), use_cache=True).past_key_values
            for (keys, values), layer in zip(layers, wanted.layers, strict=True):
                for found, alone in ((keys, layer.keys), (values, layer.values)):
                    length = len(prompt) - 1
                    assert torch.allclose(found[row, :, -length:], alone[0], atol=1e-5)
                    assert not found[row, :, :-length].any()


@pytest.mark.parametrize("begun", [False, True])
def test_all_are_read_as_each_would_be_alone(model: Any, begun: bool) -> None:
    import torch

    read: list[int] = []
    model.model.embed_tokens.register_forward_hook(
        lambda _, args, __: read.append(args[0].numel()))
    with torch.inference_mode():
        known = prefill.beginning(model, PROMPTS) if begun else prefill.NOTHING
        assert known.tokens == (40 if begun else 0)
        layers = prefill.read(model, PROMPTS, known)
        # 41 + 30 + 60 + 1 + 30 + what is padded, of 600 tokens.
        assert sum(read) < 300 < sum(map(len, PROMPTS)) - 100
    as_alone(model, PROMPTS, layers)


def near(limit: int) -> list[list[int]]:
    """Prompts up to the limit, whose last parts go together though they begin far apart."""
    first, second = [*START, *range(100, limit - 48)], [*START, *range(20)]
    return [[*branch, *range(start, start + tail), 3] for branch, tail, starts in (
        (first, 5, (60, 70)), (second, 40, (5, 60))) for start in starts]


def test_padding_has_no_place_beyond_the_end(tiny_phi3: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    learned = GPT2LMHeadModel(GPT2Config(n_positions=160, n_embd=16, n_layer=1, n_head=2,
                                         vocab_size=300, bos_token_id=0, eos_token_id=0)).eval()
    # Beyond 160 tokens the rotation would be another one.
    rotated = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(
        tiny_phi3, original_max_position_embeddings=160, rope_parameters={
            "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 8,
            "long_factor": [9.0] * 8})).eval()
    for model in (learned, rotated):
        prompts = near(160)
        assert max(map(len, prompts)) <= kv_cache.longest(model) == 160
        with torch.inference_mode():
            layers = prefill.read(model, prompts)
        as_alone(model, prompts, layers)


def test_through_an_adapter_that_is_kept_apart(model: Any) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(
        r=4, target_modules=["qkv_proj", "down_proj"], init_lora_weights=False)).eval()
    with torch.inference_mode():
        layers = prefill.read(adapted, PROMPTS, prefill.beginning(adapted, PROMPTS))
        with adapted.disable_adapter():
            plain = prefill.read(adapted, PROMPTS)
    as_alone(adapted, PROMPTS, layers)
    assert not torch.allclose(layers[-1][0], plain[-1][0], atol=1e-3)


def test_one_prompt_or_short_beginnings_are_not_read_beforehand(model: Any) -> None:
    assert prefill.beginning(model, PROMPTS[:1]) is prefill.NOTHING
    assert prefill.beginning(model, [[1, 2, 3], [1, 2, 4]]) is prefill.NOTHING
    assert prefill.beginning(model, []) is prefill.NOTHING


def test_what_can_be_laid_out(tiny_phi3: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    def longest(**more: Any) -> int:
        config = AutoConfig.from_pretrained(tiny_phi3, **more)
        return kv_cache.longest(AutoModelForCausalLM.from_config(config))

    assert longest() == 512
    assert longest(sliding_window=100) == 100
    # The rotation is another one once more than the original length is read at once.
    factors = [1.0] * 8
    assert longest(original_max_position_embeddings=64, rope_parameters={
        "rope_type": "longrope", "rope_theta": 1e4, "long_factor": factors,
        "short_factor": factors}) == 64


def test_models_without_plain_attention_are_answered_without() -> None:
    from transformers import BloomConfig, BloomForCausalLM, MambaConfig, MambaForCausalLM

    # ALiBi counts distances, padding in between too; a recurrent state has no rows of tokens.
    assert kv_cache.longest(BloomForCausalLM(BloomConfig(
        vocab_size=64, hidden_size=16, n_layer=1, n_head=2))) == 0
    assert kv_cache.longest(MambaForCausalLM(MambaConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=1))) == 0
