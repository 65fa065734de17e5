"""Which layers are linear ones, and which of a model's get an adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi3kit.errors import ModelError

if TYPE_CHECKING:
    from phi3kit.models.loading import Loaded

# Mamba's code reads these layers' weights itself, past an adapter. peft refuses the first of them
# in models of these types.
_SCANNED = frozenset({"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"})
_READ_WITHIN = frozenset({"out_proj", "dt_proj"})


def is_linear(layer: Any) -> bool:
    """Whether a layer gives W x + b and nothing else.

    By its very class: routers of mixtures of experts are made from torch's and give a tuple
    (Phi-3.5-MoE, Llama 4). Falcon's own differs in rounding alone.
    """
    import torch

    kind = type(layer)
    if kind is torch.nn.Linear or kind.__name__ == "FalconLinear":
        return True
    return isinstance(layer, torch.nn.Linear) and kind.__module__.startswith("bitsandbytes.")


def target_modules(loaded: Loaded) -> tuple[str, ...]:
    """The names of the linear layers to adapt: the catalog's, else all but the output layer.

    Raises:
        ModelError: the model has no layer of one of the catalog's names.
    """
    output = loaded.model.get_output_embeddings()
    found = {path.rpartition(".")[2] for path, layer in loaded.model.named_modules()
             if is_linear(layer) and layer is not output}
    if loaded.model.config.model_type in _SCANNED:
        found -= _READ_WITHIN
    if loaded.spec is None:
        if not found:
            raise _nothing_to_adapt(loaded)
        return tuple(sorted(found))
    missing = [name for name in loaded.spec.target_modules if name not in found]
    if missing:
        raise ModelError(f"the model has no layers named {', '.join(missing)}; it has "
                         f"{', '.join(sorted(found))}", where=loaded.name,
                         mend="Give the model by its folder, so that its layers are looked up")
    return loaded.spec.target_modules


def _nothing_to_adapt(loaded: Loaded) -> ModelError:
    from transformers.pytorch_utils import Conv1D

    kind = ("its layers are Conv1D, not linear ones" if any(
        isinstance(layer, Conv1D) for layer in loaded.model.modules()) else "it has no linear ones")
    return ModelError(f"the model has no layers to adapt: {kind}", where=loaded.name,
                      mend="Use --full or another model")
