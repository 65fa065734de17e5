"""Rows laid end to end, without padding, where none can see the other.

A micro-batch becomes one row whose positions begin anew with each example. transformers finds
the examples by that and keeps attention within each, for models whose mask it makes. Whatever
else a model does along a row, such as a recurrent state, does not know of examples: so it is
tried out on the very model before anything is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from phi3kit.errors import ModelError
from phi3kit.models.causal import causal_of

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded

_PROBE = 24  # tokens of each of the two examples that are tried out
# Between an example alone and behind another one, in relation to its logits: far above what
# rounding makes in bfloat16, far below what other positions make.
_ROUNDING = 0.05


def packs(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Rows that go together: each group at most `budget` tokens, laid end to end.

    The longest first, each into the first group that has room (first-fit decreasing, which
    needs at most 11/9 of the fewest groups possible, and 6/9 of one; Dósa 2007).

    Args:
        lengths: tokens of each row.
        budget: tokens of a group; a longer row is a group of its own.

    Returns:
        Indices of the rows, the fullest groups first: when memory does not suffice, that shows
        at once.
    """
    groups: list[list[int]] = []
    left: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        place = next((at for at, room in enumerate(left) if lengths[index] <= room), None)
        if place is None:
            groups.append([])
            left.append(budget)
            place = -1
        groups[place].append(index)
        left[place] -= lengths[index]
    order = sorted(range(len(groups)), key=lambda at: (left[at], at))
    return [groups[at] for at in order]


@contextmanager
def positioned(model: Any, position_ids: Any | None) -> Iterator[None]:
    """Let the decoder of `model` count positions so; as it does itself where they are None."""
    if position_ids is None:
        yield
        return
    hook = causal_of(model).base_model.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {**kwargs, "position_ids": position_ids}),
        with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def refuse_if_seen(loaded: Loaded) -> None:
    """Try out that an example behind another one is computed as if it stood alone.

    Nothing but the example in front is changed, and not one bit may change behind it.

    Raises:
        ModelError: it is seen, or the positions are not taken.
    """
    import torch

    model = loaded.model
    device = next(model.parameters()).device
    span = torch.arange(_PROBE, device=device)
    known = model.config.get_text_config().vocab_size
    second = (span * 7 + 3) % known
    both = torch.cat([span, span])[None]

    def behind(first: Any) -> Any:
        return logits(torch.cat([first, second])[None], both)[:, _PROBE:]

    def logits(ids: Any, positions: Any) -> Any:
        # The same dropout each time. Not in evaluation mode, for on a CPU bitsandbytes then
        # repacks 4-bit weights for good.
        torch.manual_seed(0)
        with torch.no_grad(), positioned(model, positions):
            return model(input_ids=ids, use_cache=False).logits.float()

    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            one, other = behind((span * 5 + 1) % known), behind((span * 11 + 2) % known)
        except TypeError as error:
            raise _refused(loaded, "it takes no positions") from error
        alone = logits(second[None], span[None])
    if not torch.equal(one, other):
        raise _refused(loaded, "an example changes what is computed for the next one")
    off = float((one - alone).norm() / alone.norm())
    # With dropout the same seed masks another place.
    if off > _ROUNDING and not _drops(model):
        raise _refused(loaded, "an example is not computed as it is alone")


def _drops(model: Any) -> bool:
    import torch

    return any(isinstance(m, torch.nn.Dropout) and m.p > 0 and m.training
               for m in model.modules())


def _refused(loaded: Loaded, why: str) -> ModelError:
    return ModelError(f"the model cannot be trained on packed examples: {why}", where=loaded.name,
                      mend="Use --no-packing")
