"""Greedy decoding of a batch through transformers' own generate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phi3kit.models import prefill
from phi3kit.models.kv_cache import held, longest


def beginning(model: Any, prompts: Sequence[list[int]]) -> prefill.Beginning:
    """What all of `prompts` begin with, read once for every batch of them.

    None of them may be longer than `kv_cache.longest` says.
    """
    import torch

    from phi3kit.models.attention import grouped

    with torch.inference_mode(), grouped(model):
        return prefill.beginning(model, prompts)


def greedy(model: Any, batch: list[list[int]], *, stops: list[int], max_new_tokens: int,
           begun: prefill.Beginning = prefill.NOTHING) -> list[list[int]]:
    """The most likely continuation of each prompt.

    Args:
        model: a causal language model in evaluation mode.
        batch: token ids of the prompts, of any lengths; padded on the left here.
        stops: ids that end an answer.
        max_new_tokens: longest answer, in tokens.
        begun: what all prompts begin with, from `beginning`.

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
    input_ids, mask = input_ids.to(model.device), mask.to(model.device)
    with torch.inference_mode(), grouped(model):
        cache = None
        alone = len(batch) == 1 and not begun.tokens
        if not alone and 1 < width <= longest(model) - max_new_tokens:
            cache = held(prefill.read(model, batch, begun))
        return _rounds(model, input_ids, mask, cache, stops, padding, max_new_tokens)


def _rounds(model: Any, input_ids: Any, mask: Any, cache: Any, stops: list[int], padding: int,
            max_new_tokens: int) -> list[list[int]]:
    """Generate; whenever half of the rows have ended, go on with the others alone."""
    import torch

    width = input_ids.shape[1]
    rows = list(range(len(input_ids)))
    answers: dict[int, list[int]] = {}
    while rows:
        made = input_ids.shape[1] - width
        output = model.generate(
            input_ids=input_ids, attention_mask=mask, past_key_values=cache,
            generation_config=greedy_config(stops, padding, max_new_tokens - made),
            stopping_criteria=_half_ended(stops, len(rows)) if cache is not None else None)
        going = []
        for i, new in enumerate(output[:, width:].tolist()):
            answer = _until_stop(new, stops)
            answers[rows[i]] = answer
            if cache is not None and answer[-1] not in stops and len(answer) < max_new_tokens:
                going.append(i)
        if going:
            at = torch.tensor(going, device=output.device)
            cache.batch_select_indices(at)
            input_ids = output[at]
            mask = torch.nn.functional.pad(mask[at], (0, output.shape[1] - mask.shape[1]), value=1)
        rows = [rows[i] for i in going]
    return [answers[row] for row in range(len(answers))]


def _half_ended(stops: list[int], rows: int) -> Any:
    """Ends everything when at least half of the rows, but not all, have had a stop id."""
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    class HalfEnded(StoppingCriteria):  # type: ignore[misc] # transformers is untyped here
        def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
            stop = torch.tensor(stops, device=input_ids.device, dtype=input_ids.dtype)
            ended = torch.isin(input_ids[:, -1], stop)
            half = rows > 1 and 2 * int(ended.sum()) >= rows
            return ended | half

    return StoppingCriteriaList([HalfEnded()])


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
