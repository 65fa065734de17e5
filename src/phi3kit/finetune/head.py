"""The loss behind a frozen output layer, a few rows of logits at a time.

Logits are by far the largest tensor of a small model's training: 150 tokens of a vocabulary of
50,000 are 30 MB in float32, and taking them whole costs four passes over as much memory, each on
pages that the system has to clear first. Nothing is learned in a frozen layer, so all that its
backward needs is the gradient of its input, which is known as soon as the logits are.
"""

from __future__ import annotations

import functools
from typing import Any

# Of logits that are held at once, 16 MiB in float32.
_AT_ONCE = 4 * 2**20


def is_frozen(head: Any) -> bool:
    """Whether an output layer is a plain linear one that is not trained."""
    import torch

    return type(head) is torch.nn.Linear and not any(p.requires_grad for p in head.parameters())


def summed_loss(head: Any, hidden: Any, targets: Any) -> Any:
    """Summed cross entropy of `targets` under the logits of `head`, in float32.

    Args:
        head: for which `is_frozen` holds.
        hidden: [tokens, hidden], in the head's type.
        targets: int64[tokens].
    """
    return _product().apply(hidden, head.weight, head.bias, targets)


@functools.cache
def _product() -> Any:
    """The autograd function; made on first use, for torch is not imported at start-up."""
    import torch

    class FrozenHeadLoss(torch.autograd.Function):  # type: ignore[misc]
        """With p = softmax(W h + b): loss = -sum log p[target], dh = Wᵀ(p - onehot(target))."""

        @staticmethod
        def forward(ctx: Any, hidden: Any, weight: Any, bias: Any, targets: Any) -> Any:
            loss = torch.zeros((), device=hidden.device)
            slope = torch.empty_like(hidden)
            rows = max(1, _AT_ONCE // weight.shape[0])
            for at in range(0, len(hidden), rows):
                wanted = targets[at:at + rows, None]
                logits = torch.nn.functional.linear(hidden[at:at + rows], weight, bias).float()
                total = logits.logsumexp(dim=-1, keepdim=True)
                loss += (total - logits.gather(1, wanted)).sum()
                shares = logits.sub_(total).exp_()
                shares.scatter_add_(1, wanted, shares.new_full(wanted.shape, -1.0))
                slope[at:at + rows] = shares.to(weight.dtype) @ weight
            ctx.save_for_backward(slope)
            return loss

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            slope, = ctx.saved_tensors
            return slope * grads[0].to(slope.dtype), None, None, None

    return FrozenHeadLoss
