"""Where an adapter's weights begin, other than at random times zero: PiSSA and LoftQ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from phi3kit.errors import ModelError
from phi3kit.models.bases import resolve_base
from phi3kit.models.loading import Loaded

Start = Mapping[str, Any]


def loftq(loaded: Loaded, model: Any) -> None:
    """Let the adapter begin as the best low-rank repair of what 4-bit rounding lost.

    With W the weight and Q its NF4 values, `s B A` becomes the first `rank` singular parts of
    W - Q (Li et al. 2023, algorithm 1, one round: Q is not rounded again, so that the adapter
    stays one for the very base that everybody has).

    Args:
        loaded: a base in "nf4"; its original weights are read from its folder or cache.
        model: the PeftModel with a fresh adapter on it.

    Raises:
        ModelError: the original weights are not at hand.
    """
    import torch
    from bitsandbytes.functional import dequantize_4bit

    layers = {path.removeprefix("base_model.model."): layer
              for path, layer in model.named_modules()
              if hasattr(layer, "lora_A") and hasattr(layer, "base_layer")}
    seen = set()
    for path, original in _originals(loaded, set(layers)):
        seen.add(path)
        layer = layers[path]
        rounded = dequantize_4bit(layer.base_layer.weight.data, layer.base_layer.weight.quant_state)
        lost = original.to(rounded.device, torch.float32) - rounded.float()
        u, s, vh = torch.linalg.svd(lost, full_matrices=False)
        [name] = layer.lora_A
        rank, root = layer.r[name], s[:layer.r[name]].sqrt()
        layer.lora_A[name].weight.data.copy_(root[:, None] * vh[:rank])
        layer.lora_B[name].weight.data.copy_(u[:, :rank] * root / layer.scaling[name])
    if seen != set(layers):
        raise ModelError(f"the original weights of {min(set(layers) - seen)} are not in its files",
                         where=loaded.name, mend="Use finetune.init: default")


def _originals(loaded: Loaded, layers: set[str]) -> Iterator[tuple[str, Any]]:
    """(layer's path, its weight as it was saved) for those of `layers` that the files hold."""
    from safetensors import safe_open

    for file in sorted(_folder(loaded).glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 - it is no mapping
                path = key.removesuffix(".weight")
                if path != key and path in layers:
                    yield path, tensors.get_tensor(key)


def _folder(loaded: Loaded) -> Path:
    base, _ = resolve_base(loaded.name)
    if isinstance(base, Path):
        return base
    from huggingface_hub import snapshot_download

    # Loaded a moment ago, so the cache has it.
    return Path(snapshot_download(base, revision=loaded.fingerprint.rpartition("@")[2],
                                  local_files_only=True))


def as_plain_lora(folder: Path, start: Start) -> None:
    """Rewrite a saved PiSSA adapter as a LoRA adapter for the unchanged base.

    PiSSA moves the first singular parts of each weight, `s B0 A0`, into the adapter and trains
    them there (Meng et al. 2024). On the unchanged W the same model is W + s B A - s B0 A0: an
    adapter of twice the rank, [B, -B0] [A; A0], with the same scale.

    Args:
        folder: holds adapter_config.json and adapter_model.safetensors.
        start: the adapter's weights as it began, by the same names as in the file.
    """
    import torch
    from safetensors.torch import load_file, save_file

    weights = folder / "adapter_model.safetensors"
    trained = load_file(weights)
    save_file({name: torch.cat([tensor, start[name]], dim=0) if "lora_A" in name
               else torch.cat([tensor, -start[name]], dim=1)
               for name, tensor in trained.items()}, weights, metadata={"format": "pt"})
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    rank, alpha = config["r"], config["lora_alpha"]
    scale = alpha / rank**0.5 if config["use_rslora"] else alpha / rank
    config |= {"r": 2 * rank, "lora_alpha": scale * 2 * rank, "use_rslora": False,
               "init_lora_weights": True}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
