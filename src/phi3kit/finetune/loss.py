"""The loss of the trained tokens, with no output layer computed where there is none."""

from __future__ import annotations

from typing import Any

from phi3kit.dataset.encode import IGNORED
from phi3kit.finetune.head import is_frozen, summed_loss
from phi3kit.models.causal import causal_of

_PROBE = 16  # tokens


def answer_loss(model: Any, input_ids: Any, labels: Any, position_ids: Any | None = None, *,
                plain_head: bool = True) -> Any:
    """Summed cross entropy of the trained tokens, in float32.

    The output layer, [tokens, hidden] x [hidden, vocabulary] and with a vocabulary of tens
    of thousands the largest product of a small model, is computed only where a label is.

    Args:
        model: a causal language model, with or without a LoRA adapter.
        input_ids, labels: int64[rows, width]; a label is predicted by the position before it.
        position_ids: int64[rows, width], where examples are laid end to end.
        plain_head: see `has_plain_head`; without one, all logits come from the model itself.
    """
    import torch

    wanted = labels[:, 1:] != IGNORED
    given = {"input_ids": input_ids, "use_cache": False}
    if position_ids is not None:
        given["position_ids"] = position_ids
    if plain_head:
        causal = causal_of(model)
        hidden = causal.base_model(**given).last_hidden_state
        head, hidden = causal.get_output_embeddings(), hidden[:, :-1][wanted]
        if is_frozen(head):
            return summed_loss(head, hidden, labels[:, 1:][wanted])
        logits = head(hidden)
    else:
        logits = model(**given).logits[:, :-1][wanted]
    return torch.nn.functional.cross_entropy(
        logits.float(), labels[:, 1:][wanted], reduction="sum")


def has_plain_head(model: Any) -> bool:
    """Whether the logits are the output layer's and nothing else, tried out on a few tokens.

    Gemma 2 caps its logits, Granite and Cohere scale them, inside their own forward. Logits that
    are all zero, as behind the embedding of a padding token, would not tell.
    """
    import torch

    causal = causal_of(model)
    if causal.base_model is causal:  # Llama 4's text model alone does not name its own
        return False
    known = causal.config.get_text_config().vocab_size
    ids = (torch.arange(_PROBE, device=next(model.parameters()).device) * 7 + 3)[None] % known
    seen: list[Any] = []
    hook = causal.base_model.register_forward_hook(
        lambda module, args, out: seen.append(out.last_hidden_state))
    # One pass for both, so that dropout cannot make them differ, and not in evaluation mode: on
    # a CPU bitsandbytes then repacks 4-bit weights for good, and the packed ones pass no
    # gradients on.
    try:
        with torch.no_grad():
            whole = causal(input_ids=ids, use_cache=False).logits
            # OPT's own forward calls a part of its base model.
            return bool(seen) and bool(whole.any()) and bool(
                torch.allclose(causal.get_output_embeddings()(seen[0]), whole))
    finally:
        hook.remove()
