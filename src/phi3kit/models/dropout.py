"""The dropout that a base's own configuration asks for."""

from __future__ import annotations

from typing import Any

from phi3kit.models.causal import causal_of


def switch_off(model: Any) -> tuple[str, ...]:
    """Set every dropout of `model` to 0: its layers', and what its code reads where it is needed.

    Layers that are skipped at random (`layerdrop`) are meant too. An adapter that is put on
    afterwards keeps its own.

    Returns:
        What was above 0, by name, in order.
    """
    import torch

    found = set()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            if module.p > 0:
                found.add("dropout")
                module.p = 0.0
        else:
            found |= _zeroed(module)
    # Falcon and GPT-J look there in each pass.
    found |= _zeroed(causal_of(model).config)
    return tuple(sorted(found))


def _zeroed(holder: Any) -> set[str]:
    names = {name for name, value in vars(holder).items()
             if "drop" in name and isinstance(value, float) and value > 0}
    for name in names:
        setattr(holder, name, 0.0)
    return names
