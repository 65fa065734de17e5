"""The frozen layers of a base, shared out over the processes that train on it.

torch's `fully_shard` (FSDP2) keeps of each decoder layer's weights one share per process, and
gathers a layer when its turn comes, forward and backward. What trains, an adapter of a few
megabytes, stays whole in each process: its gradients are added up, its optimizer runs and its
checkpoints are written just as without sharding. So are the embeddings and the output layer
whole, for the loss reads the output layer's weights itself (see `head`), and often both are
one tensor. A model that trains whole is another matter: see `shares`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi3kit.errors import ModelError, SettingsError
from phi3kit.finetune.fused import is_shared_out
from phi3kit.finetune.processes import Processes
from phi3kit.models.causal import causal_of
from phi3kit.progress import note

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded
    from phi3kit.settings import FinetuneSettings, Settings


def refuse_unshardable(settings: Settings) -> None:
    """Tell of settings that cannot be sharded, before anything is loaded.

    Raises:
        SettingsError: the whole model is to train in float16.
        ModelError: no such device.
    """
    own, model = settings.finetune, settings.model
    if not (own.shard and own.full):
        return
    from phi3kit.models.hardware import pick_device, pick_dtype

    if pick_dtype(model.dtype, pick_device(model.device)) == "float16":
        raise SettingsError("not float16 with finetune.full and finetune.shard: its gradients need "
                            "a loss scale, and there is none over shares", where="model.dtype",
                            mend="Set it to bfloat16 or float32, or leave out --shard")


def wanted(own: FinetuneSettings, team: Processes) -> bool:
    """Whether the base is to be shared out: it is asked for, and there are others."""
    return own.shard and team.size > 1


def shard(loaded: Loaded, team: Processes, device: str) -> None:
    """Share the decoder layers' frozen weights out, and bring the model to its device.

    Each process has to make the same number of forward and backward passes from now on.

    Args:
        loaded: a base with its adapter, in host memory.
        team: more than one process.
        device: "cpu" or "cuda", where the training happens.

    Raises:
        ModelError: the model does not name its layers.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    decoder = causal_of(loaded.model).base_model
    layers = layers_of(loaded)
    mesh = init_device_mesh(device, (team.size,))
    trained = {p for p in loaded.model.parameters() if p.requires_grad}
    for layer in layers:
        _move_quantization(layer, device)
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, ignored_params=trained)
    # The decoder itself, so that a layer is gathered while the one before it computes. Of its
    # own parameters it has none to share out.
    rest = {p for p in loaded.model.parameters() if not is_shared_out(p)}
    fully_shard(decoder, mesh=mesh, ignored_params=rest)
    loaded.model.to(device)
    loaded.device = device
    note(f"{len(layers)} layers shared out over {team.size} processes")


def layers_of(loaded: Loaded) -> list[Any]:
    """The modules that the model's own code says must not be split."""
    causal = causal_of(loaded.model)
    kinds = set(causal._no_split_modules or ())
    layers = [module for module in causal.base_model.modules() if type(module).__name__ in kinds]
    if not layers:
        raise ModelError("the model does not say what its layers are", where=loaded.name,
                         mend="Leave out --shard")
    return layers


def _move_quantization(layer: Any, device: str) -> None:
    """The scales of 4-bit weights are no parameters: nobody else moves them."""
    for module in layer.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            module.quant_state = state
            state.to(device)
