"""What AdamW keeps of each weight, brought from the optimizer that saved it to the one that loads.

A checkpoint may be gone on with on another device, and QLoRA has another AdamW on a card (see
`trainer`). Both divide the first moment by the root of the second, each corrected for its start,
in 32 bits (Loshchilov & Hutter 2019, algorithm 2): they differ in names and in rounding alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phi3kit.errors import RunError

_TORCH = {"step": "step", "exp_avg": "state1", "exp_avg_sq": "state2"}
_BITSANDBYTES = {own: other for other, own in _TORCH.items()}
_NESTED = "__bnb_optimizer_quant_state__"  # bitsandbytes saves its moments one level deeper
# What bitsandbytes writes on a tensor whose memory the card's driver may move. It is saved with the
# tensor, and a loaded one lies in ordinary memory, which the driver cannot be asked to move.
_PAGED = ("is_paged", "page_deviceid")


def fitted(saved: dict[str, Any], optimizer: Any, checkpoint: Path) -> dict[str, Any]:
    """The state of a checkpoint as `optimizer` loads it.

    Args:
        saved: what the state_dict() of torch's AdamW or of bitsandbytes' was. Its tensors are
            shared with what is returned.
        optimizer: either of them, of the same weights; it is not changed.
        checkpoint: for messages.

    Raises:
        RunError: the state is that of neither.
    """
    paged = hasattr(optimizer, "is_paged")
    # The learning rate is the schedule's; which kernel computes is the optimizer's own matter.
    groups = [{**own, "lr": was["lr"], "params": was["params"]} for own, was in zip(
        optimizer.state_dict()["param_groups"], saved["param_groups"], strict=True)]
    return {"state": {at: _of_weight(kept, checkpoint, paged=paged)
                      for at, kept in saved["state"].items()}, "param_groups": groups}


def _of_weight(kept: dict[str, Any], checkpoint: Path, *, paged: bool) -> dict[str, Any]:
    import torch

    found = {**kept, **kept.get(_NESTED, {})}
    found.pop(_NESTED, None)
    for value in found.values():
        if isinstance(value, torch.Tensor):
            for mark in _PAGED:
                vars(value).pop(mark, None)
    wanted, other = (_BITSANDBYTES, _TORCH) if paged else (_TORCH, _BITSANDBYTES)
    if found.keys() == wanted.keys():
        return found
    if found.keys() != other.keys():
        raise RunError(f"holds the state of another optimizer than AdamW ({', '.join(found)})",
                       where=str(checkpoint), mend="Train anew with --fresh")
    found = {other[name]: value for name, value in found.items()}
    step = float(found["step"])
    return {**found, "step": int(step) if paged else torch.tensor(step)}
