"""Greedy decoding of a padded batch through transformers' own generate."""

from __future__ import annotations

from typing import Any


def greedy(model: Any, batch: list[list[int]], *, stops: list[int],
           max_new_tokens: int) -> list[list[int]]:
    """The most likely continuation of each prompt.

    Args:
        model: a causal language model in evaluation mode.
        batch: token ids of the prompts, of any lengths; padded on the left here.
        stops: ids that end an answer.
        max_new_tokens: longest answer, in tokens.

    Returns:
        New ids of each prompt in order, up to and with the first stop id.
    """
    import torch

    from phi3kit.models.attention import grouped

    width = max(len(ids) for ids in batch)
    # Padding is masked out: its id only has to be a valid one.
    padding = stops[0] if stops else 0
    input_ids = torch.tensor([[padding] * (width - len(ids)) + ids for ids in batch])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in batch])
    with torch.inference_mode(), grouped(model):
        output = model.generate(
            input_ids=input_ids.to(model.device), attention_mask=mask.to(model.device),
            generation_config=greedy_config(stops, padding, max_new_tokens))
    return [_until_stop(row, stops) for row in output[:, width:].tolist()]


def greedy_config(stops: list[int], padding: int, max_new_tokens: int) -> Any:
    """Greedy, up to `max_new_tokens` or a stop id."""
    from transformers import GenerationConfig

    return GenerationConfig(
        do_sample=False, num_beams=1, max_new_tokens=max_new_tokens,
        eos_token_id=stops or None, pad_token_id=padding, use_cache=True)


def forget_sampling(model: Any) -> None:
    """Drop the model's own decoding settings, all but its token ids.

    generate() fills whatever a configuration leaves open from them (repetition penalties,
    suppressed tokens, a minimal length), and answers would no longer be the greedy ones.
    """
    from transformers import GenerationConfig

    old = model.generation_config
    plain = GenerationConfig(bos_token_id=old.bos_token_id, eos_token_id=old.eos_token_id,
                             pad_token_id=old.pad_token_id)
    model.generation_config = plain
    if hasattr(model, "get_base_model"):  # an adapter's wrapper has a copy of its own
        model.get_base_model().generation_config = plain


def _until_stop(row: list[int], stops: list[int]) -> list[int]:
    for i, token in enumerate(row):
        if token in stops:
            return row[: i + 1]
    return row
