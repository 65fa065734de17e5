"""Rows laid end to end, without padding, where none can see the other.

A micro-batch becomes one row whose positions begin anew with each example. transformers finds
the examples by that and keeps attention within each, for models whose mask it makes. Whatever
else a model does along a row, such as a recurrent state, does not know of examples: so it is
tried out on the very model before anything is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phi3kit.errors import ModelError
from phi3kit.models.kv_cache import longest

if TYPE_CHECKING:
    from phi3kit.dataset.encode import Encoded
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import FinetuneSettings

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


def balanced(lengths: Sequence[int], budget: int, workers: int) -> list[list[int]]:
    """Rows in groups that take about as long, laid end to end: as many for each worker.

    The longest first, each into the group with the fewest tokens so far (Graham 1969).

    Args:
        lengths: tokens of each row.
        budget: tokens of a group, at most, but for a single row.
        workers: that compute a group each at the same time.

    Returns:
        Indices of the rows, the fullest groups first.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    count = workers * max(1, -(-sum(lengths) // (workers * budget)))
    while True:
        groups: list[list[int]] = [[] for _ in range(count)]
        tokens = [0] * count
        for index in order:
            place = tokens.index(min(tokens))
            groups[place].append(index)
            tokens[place] += lengths[index]
        if all(total <= budget or len(group) == 1
               for total, group in zip(tokens, groups, strict=True)):
            break
        count += workers
    full = sorted((at for at in range(count) if groups[at]), key=lambda at: (-tokens[at], at))
    return [groups[at] for at in full]


def is_laid_out(loaded: Loaded, rows: Sequence[Encoded], settings: FinetuneSettings) -> bool:
    """Whether examples are trained end to end: asked for, or without cost.

    On a CPU, where attention goes by rows anyway (see `attention`), it saves the padding, if the
    model is one whose examples do not see each other then, however long they are.

    Raises:
        ModelError: it is asked for, and cannot be.
    """
    if settings.packing:
        refuse_if_seen(loaded)
        return True
    if (loaded.device != "cpu" or settings.dropout
            or max(len(row.input_ids) for row in rows) > longest(loaded.model)):
        return False
    try:
        refuse_if_seen(loaded)
    except ModelError:
        return False
    return True


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
        with torch.no_grad():
            return model(input_ids=ids, position_ids=positions, use_cache=False).logits.float()

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
