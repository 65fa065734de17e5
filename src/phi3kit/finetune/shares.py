"""A whole model that trains by shares: weights, gradients and optimizer states.

torch's `fully_shard` (FSDP2; Zhao et al. 2023) keeps one share of each weight per process. A layer
is gathered when its turn comes, forward and backward, and its gradients are added up into shares
at once; the optimizer then runs on the shares. Embeddings, final norm and output layer belong to
the root and stay gathered from the start of a loss to the end of its backward: the loss reads
the output layer's weights itself, and often these are the embeddings' own.

Checkpoints and the saved model are those of one process: the first gathers them in its host memory,
and each cuts its share out of what is loaded.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi3kit.errors import RunError
from phi3kit.finetune.fused import is_shared_out
from phi3kit.finetune.loss import answer_loss
from phi3kit.finetune.processes import Processes
from phi3kit.finetune.sharding import layers_of
from phi3kit.progress import note

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded


def share_out(loaded: Loaded, team: Processes, device: str) -> None:
    """Share all weights out, and bring the model to its device.

    Each process has to make the same number of forward and backward passes from now on.

    Args:
        loaded: a model whose weights train, in float32 and in host memory.
        team: more than one process.
        device: "cpu" or "cuda", where the training happens.

    Raises:
        ModelError: the model does not name its layers.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import (
        MixedPrecisionPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    model, layers = loaded.model, layers_of(loaded)
    mesh = init_device_mesh(device, (team.size,))
    policy = MixedPrecisionPolicy(param_dtype=_gathered_in(loaded, layers, device),
                                  reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
    fully_shard(model, mesh=mesh)
    for unit in (*layers, model):
        unit.set_gradient_divide_factor(1.0)  # a step's sum is divided by its tokens already
        unit.set_force_sum_reduction_for_comms(True)  # all that gloo has
    model.answer_loss = functools.partial(answer_loss, model)
    register_fsdp_forward_method(model, "answer_loss")
    model.to(device)
    loaded.device = device
    note(f"{len(layers)} layers shared out over {team.size} processes, with their gradients and "
         "optimizer states")


def _gathered_in(loaded: Loaded, layers: Sequence[Any], device: str) -> Any | None:
    """The type that layers are gathered in; None: float32, which they are kept in.

    That of the arithmetic: autocast's own copies would live until the backward is done, of all
    layers at once. Their inputs stay float32, as under autocast, and a CPU's LayerNorm takes
    no weights of another type.
    """
    import torch

    mixed = device == "cpu" and any(isinstance(module, torch.nn.LayerNorm)
                                    for layer in layers for module in layer.modules())
    return None if loaded.dtype == "float32" or mixed else getattr(torch, loaded.dtype)


def let_go(model: Any) -> None:
    """End what a pass without a backward leaves gathered; nothing for what is not shared out."""
    from torch.distributed.fsdp import FSDPModule

    if isinstance(model, FSDPModule):
        model.reshard()


def put_together(loaded: Loaded, team: Processes) -> None:
    """Make the first process's model a plain one again, whole, in its host memory.

    All processes have to call it; the others keep their shares.
    """
    import torch
    from transformers import AutoModelForCausalLM

    shared = loaded.model
    state = gathered_weights(shared, keep=team.leads)
    if not team.leads:
        return
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shared.config, dtype=torch.float32)
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    model.generation_config = shared.generation_config
    loaded.model = model


def gathered_weights(model: Any, *, keep: bool) -> dict[str, Any]:
    """The state of a model; names that share a weight share it there too."""
    held: dict[int, Any] = {}
    found = {}
    for name, weight in model.state_dict(keep_vars=True).items():
        if id(weight) not in held:
            held[id(weight)] = gathered(weight.detach(), keep=keep)
        found[name] = held[id(weight)]
    return found


def gathered(state: Any, *, keep: bool) -> Any:
    """A state with whole tensors in host memory, gathered one after the other.

    Args:
        state: a tensor, or any nesting of dictionaries and lists with tensors.
        keep: whether this process wants them; it takes part all the same.
    """
    import torch
    from torch.utils._pytree import tree_map_only

    def whole(tensor: Any) -> Any:
        full = tensor.full_tensor() if is_shared_out(tensor) else tensor
        return full.cpu() if keep else None

    return tree_map_only(torch.Tensor, whole, state)


def load_weights(model: Any, checkpoint: Path) -> None:
    """Give a model that is shared out the values of a checkpoint.

    Raises:
        RunError: it lacks some.
    """
    import torch
    from safetensors import safe_open

    held = model.state_dict(keep_vars=True)
    left = {id(weight): name for name, weight in held.items()}
    for file in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stored, torch.no_grad():
            for name in set(stored.keys()) & held.keys():
                held[name].copy_(_share_of(stored.get_tensor(name), held[name]))
                left.pop(id(held[name]), None)
    if left:
        raise RunError(f"{len(left)} weights are missing, '{min(left.values())}' first",
                       where=str(checkpoint), mend="Remove this checkpoint")


def load_moments(optimizer: Any, whole: dict[str, Any]) -> None:
    """Give an optimizer the state that an optimizer of whole weights would have."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state = {at: {key: _share_of(value, weight) for key, value in whole["state"][at].items()}
             for at, weight in enumerate(weights) if at in whole["state"]}
    optimizer.load_state_dict({**whole, "state": state})


def _share_of(value: Any, weight: Any) -> Any:
    """This process's share of a whole tensor, cut as `weight` is; what is not cut stays."""
    from torch.distributed.tensor import distribute_tensor

    if not is_shared_out(weight) or value.shape != weight.shape:  # a count of steps has none
        return value
    return distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None)
